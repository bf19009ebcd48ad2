"""Finds runs that nobody advances any more, and has them taken up."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic

from storage.errors import ArchiveUnavailable, StorageError
from storage.runs import DueRuns

logger = logging.getLogger("goalgraph")

LOOK_AGAIN = 30.0
"""Seconds for which a run is left alone that this process cannot advance: its actions or its version are not ours."""
PAGE = 1000
"""Due runs of each partition that are looked at together."""
ADOPT_AGAIN = (5.0, 300.0)
"""Seconds before runs without a control are looked for again that may be in the archive, which does not answer: the
first, doubled up to the last."""


class Sweeper:
    """Looks for due runs, at start and on a timer.

    Args:
        due: Where they are.
        mine: Whether this process can advance a run.
        take_up: Has it advanced.
        give_up: Told of a run that this process cannot advance, and nobody else has for as long as it was left alone.
        every: Seconds between two looks; each is a little earlier or later, so that processes do not look together.
        put_off: Seconds for which nobody else looks at a run that is about to be taken up.
        room: How many more runs may be taken up now.
    """

    def __init__(
        self,
        due: DueRuns,
        *,
        mine: Callable[[str], Awaitable[bool]],
        take_up: Callable[[str], Awaitable[None]],
        give_up: Callable[[str], Awaitable[None]],
        every: float,
        put_off: float,
        room: Callable[[], int],
    ) -> None:
        self._due = due
        self._mine = mine
        self._take_up = take_up
        self._give_up = give_up
        self._every = every
        self._put_off = put_off
        self._room = room
        self.sweeps = 0
        """Looks so far that the store answered."""
        self.found = 0
        """Runs that were due at the last of them."""
        self._foreign: dict[str, float] = {}
        """Runs that are left alone → until when."""
        self._skip = 0
        """Runs of each partition that are passed over, since all before them are left alone."""
        self._more = False
        """Whether the last look left runs that were due."""
        self._adopt_in = ADOPT_AGAIN[0]
        self._adopt_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()

    def start(self) -> None:
        """Look again and again, until closed."""
        if not any(task.cancelling() == 0 for task in self._tasks):
            self._tasks = [
                asyncio.create_task(self._always(self._look, self._wake), name="goalgraph-sweeper"),
                asyncio.create_task(self._always(self._adopt, asyncio.Event()), name="goalgraph-sweeper-adopts"),
            ]

    def rest(self) -> None:
        """Look no more until started again."""
        for task in self._tasks:
            task.cancel()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def close(self) -> None:
        """Look no more."""
        self.rest()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    async def recover(self) -> int:
        """Look once, and return how many runs were taken up.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        taken = await self._look()
        if await self._adopt():
            taken += await self._look()
        return taken

    def leave(self, run_id: str) -> None:
        """Leave a run alone for a while: it cannot be advanced here."""
        self._foreign[run_id] = monotonic() + LOOK_AGAIN

    def freed(self) -> None:
        """Hear that there is room for another run; when the last look had to leave some, look now."""
        if self._more:
            self.wake()

    async def _look(self) -> int:
        async with self._looking:
            self._more = self._room() <= 0  # then there is nothing to look for, until there is room
            if self._more:
                return 0
            now = monotonic()
            self._foreign = {run_id: until for run_id, until in self._foreign.items() if until > now - LOOK_AGAIN}
            due = await self._due.due(PAGE, self._skip)
            if self._skip and not due:
                self._skip = 0
                due = await self._due.due(PAGE)
            self.sweeps, self.found = self.sweeps + 1, len(due)
            found = [run_id for run_id in due if self._foreign.get(run_id, 0.0) <= now]
            random.shuffle(found)
            taken = await self._take(found)
            ours = self._more or any(run_id not in self._foreign for run_id in found)
            # many that nobody can run must not hide those that came after them; the next look begins behind them
            self._skip = 0 if ours or len(due) < PAGE else self._skip + PAGE
            await asyncio.sleep(0)  # what was taken up begins, and is counted by the next look
            return taken

    async def _take(self, found: Sequence[str]) -> int:
        taken, room = 0, self._room()
        for run_id in found:
            if taken >= room:
                self._more = True
                break
            try:
                if not await self._mine(run_id):
                    waited = run_id in self._foreign
                    self.leave(run_id)
                    if waited:
                        await self._give_up(run_id)
                elif await self._due.defer(run_id, self._put_off):
                    await self._take_up(run_id)
                    taken += 1
            except ArchiveUnavailable as error:  # only this one is there
                self.leave(run_id)
                logger.info("run %s, which is due, cannot be read now: %s", run_id, error)
        return taken

    async def _adopt(self) -> int:
        """Have runs found that the store has lost sight of; looking for them may take long, and holds up no look."""
        if monotonic() < self._adopt_at:
            return 0
        try:
            adopted = await self._due.adopt()
        except ArchiveUnavailable as error:
            logger.info("runs that the store may have lost cannot be looked for now: %s", error)
            self._adopt_at = monotonic() + self._adopt_in
            self._adopt_in = min(2 * self._adopt_in, ADOPT_AGAIN[1])
            return 0
        self._adopt_in = ADOPT_AGAIN[0]
        return adopted

    async def _always(self, look: Callable[[], Awaitable[int]], wake: asyncio.Event) -> None:
        while True:
            try:
                await look()
            except (StorageError, OSError) as error:
                logger.info("runs that are due cannot be looked for now: %s", error)
            except Exception:  # one run that cannot be read must not keep the others from being found
                logger.exception("a look for runs that are due failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every * random.uniform(0.7, 1.3)):  # noqa: S311 - no cryptography
                    await wake.wait()
            wake.clear()
