"""Finds runs that nobody advances any more, and has them taken up."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

from storage.errors import ArchiveUnavailable, StorageError
from storage.runs import DueRuns

logger = logging.getLogger("goalgraph")

LOOK_AGAIN = 30.0
"""Seconds for which a run is left alone that this process cannot advance: its actions or its version are not ours."""


class Sweeper:
    """Looks for due runs, at start and on a timer.

    Args:
        due: Where they are.
        mine: Whether this process can advance a run.
        take_up: Has it advanced.
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
        every: float,
        put_off: float,
        room: Callable[[], int],
    ) -> None:
        self._due = due
        self._mine = mine
        self._take_up = take_up
        self._every = every
        self._put_off = put_off
        self._room = room
        self.sweeps = 0
        """Looks so far that the store answered."""
        self.found = 0
        """Runs that were due at the last of them."""
        self._foreign: dict[str, float] = {}
        """Runs that are left alone → until when."""
        self._more = False
        """Whether the last look left runs that were due."""
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()

    def start(self) -> None:
        """Look again and again, until closed."""
        if self._task is None or self._task.cancelling():
            self._task = asyncio.create_task(self._sweep(), name="goalgraph-sweeper")

    def rest(self) -> None:
        """Look no more until started again."""
        if self._task is not None:
            self._task.cancel()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def close(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def recover(self) -> int:
        """Look once, and return how many runs were taken up.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        async with self._looking:
            return await self._look()

    def freed(self) -> None:
        """Hear that there is room for another run; when the last look had to leave some, look now."""
        if self._more:
            self.wake()

    async def _look(self) -> int:
        self._more = self._room() <= 0  # then there is nothing to look for, until there is room
        if self._more:
            return 0
        now = monotonic()
        self._foreign = {run_id: until for run_id, until in self._foreign.items() if until > now}
        try:
            await self._due.adopt()
        except ArchiveUnavailable as error:
            logger.info("runs that the store may have lost cannot be looked for now: %s", error)
        due = await self._due.due()
        self.sweeps, self.found = self.sweeps + 1, len(due)
        found = [run_id for run_id in due if run_id not in self._foreign]
        random.shuffle(found)
        taken, room = 0, self._room()
        for run_id in found:
            if taken >= room:
                self._more = True
                break
            if not await self._mine(run_id):
                self._foreign[run_id] = now + LOOK_AGAIN
            elif await self._due.defer(run_id, self._put_off):
                await self._take_up(run_id)
                taken += 1
        await asyncio.sleep(0)  # what was taken up begins, and is counted by the next look
        return taken

    async def _sweep(self) -> None:
        while True:
            try:
                await self.recover()
            except (StorageError, OSError) as error:
                logger.info("runs that are due cannot be looked for now: %s", error)
            except Exception:  # one run that cannot be read must not keep the others from being found
                logger.exception("a look for runs that are due failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every * random.uniform(0.7, 1.3)):  # noqa: S311 - no cryptography
                    await self._wake.wait()
            self._wake.clear()
