"""Delivers the durable callbacks of runs that have ended: at least once, by whichever process lives."""

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from planner.execution import ExecutionResult
from planner.execution.secrets import error_text
from planner.runs.access import RunAccess
from storage.errors import StorageError
from storage.runs import ENDS, Call, CallOutbox

logger = logging.getLogger("goalgraph")

OnComplete = Callable[[ExecutionResult], Awaitable[Any] | Any]

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds before a delivery is tried again, doubled each time."""
LET_OTHERS = 5.0
"""Seconds for which a callback is left to processes that have it registered."""
GIVE_UP = timedelta(days=1)
"""After the end of a run whose callback no process has registered; then a person has to look at it."""
MOST_ATTEMPTS = 10
"""Then a person has to look at it."""
AT_ONCE = 32
"""Deliveries that a process makes at the same time."""


class NotNow(Exception):
    """A callback is not delivered now, which is no failed delivery."""


class UnknownCallback(NotNow):
    """No function is registered here under the name of a callback; another process may have it."""


class Notifier:
    """Looks for callbacks that are due, and delivers them.

    Args:
        outbox: Where they are.
        access: Gives the results of runs.
        registered: Functions by the name under which runs ask for them; they are called with the result.
        every: Seconds between two looks.
        timeout: Seconds that one delivery may take.
    """

    def __init__(
        self,
        outbox: CallOutbox,
        access: RunAccess,
        registered: Mapping[str, OnComplete],
        *,
        every: float,
        timeout: float,
    ) -> None:
        self.registered = registered
        self.attempts: Counter[str] = Counter()
        """Deliveries so far that were `delivered`, `failed`, or were given up with this one (`dead`)."""
        self._outbox = outbox
        self._access = access
        self._every = every
        self._timeout = timeout
        self._task: asyncio.Task[None] | None = None
        self._delivering: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Look again and again, until closed."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="goalgraph-notifier")

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def close(self) -> None:
        """Look no more; what is being delivered is delivered again by somebody."""
        task, self._task = self._task, None
        if task is not None:
            working = {task, *self._delivering}
            for one in working:
                one.cancel()
            await asyncio.wait(working)

    async def deliver(self) -> None:
        """Begin to deliver what is due now, as far as there is room: one that hangs keeps no other up.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        room = AT_ONCE - len(self._delivering)
        for call in await self._outbox.claim(room, 2 * self._timeout) if room > 0 else ():
            task = asyncio.create_task(self._deliver(call), name=f"goalgraph-callback-{call.id}")
            self._delivering.add(task)
            task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        if len(self._delivering) == AT_ONCE:  # so more may be due
            self._wake.set()
        self._delivering.discard(task)

    async def _work(self) -> None:
        while True:
            try:
                await self.deliver()
            except (StorageError, OSError) as error:
                logger.info("callbacks cannot be looked for now: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._wake.wait()
            self._wake.clear()

    async def _deliver(self, call: Call) -> None:
        try:
            await self._settle(call)
        except StorageError as error:  # then it is delivered again
            logger.info("what became of callback %s of run %s is not recorded: %s", call.target, call.run_id, error)

    async def _settle(self, call: Call) -> None:
        """Deliver, and record what became of it."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._send(call)
        except NotNow as error:  # another process may have it, or the run goes on, so this was no attempt
            dead = isinstance(error, UnknownCallback) and await self._forgotten(call.run_id)
            untried = replace(call, attempts=call.attempts - 1)
            await self._outbox.settle(untried, retry_in=LET_OTHERS, error=str(error), dead=dead)
        except Exception as error:  # noqa: BLE001 - whatever a callback or a server does is a failed delivery
            told = f"{type(error).__name__}: {error_text(error, await self._access.secrets(call.run_id))}"
            dead = call.attempts + 1 >= MOST_ATTEMPTS
            pause = min(FIRST_PAUSE * 2**call.attempts, LONGEST_PAUSE)
            self.attempts["dead" if dead else "failed"] += 1
            logger.warning("callback %s of run %s failed: %s", call.target, call.run_id, told)
            await self._outbox.settle(call, retry_in=pause, error=told, dead=dead)
        else:
            self.attempts["delivered"] += 1
            await self._outbox.settle(call)

    async def _forgotten(self, run_id: str) -> bool:
        """Say whether a run is gone, or has ended so long ago that nobody has its callback any more."""
        record = await self._access.any(run_id)
        ended = None if record is None else record.finished_at
        return record is None or (ended is not None and datetime.now(UTC) - ended > GIVE_UP)

    async def _send(self, call: Call) -> None:
        """Call a function, or post to a URL."""
        url = call.target.startswith(("http://", "https://"))
        function = None if url else self.registered.get(call.target)
        if function is None and not url:
            raise UnknownCallback(f"no callback is registered as {call.target!r} in the process that looked last")
        result = await self._access.result(call.run_id)
        if result.status not in ENDS:
            raise NotNow(f"run {call.run_id!r} was begun anew, and is told of when it has ended once more")
        if function is not None:
            answer = function(result)
            if inspect.isawaitable(answer):
                await answer
            return
        async with httpx.AsyncClient(timeout=self._timeout, follow_redirects=False) as client:
            answer = await client.post(call.target, json=_payload(result), headers={"webhook-id": call.id})
            answer.raise_for_status()


def _payload(result: ExecutionResult) -> dict[str, Any]:
    """Return what a URL is told: how the run ended; its outputs are asked for by its id."""
    errors = [event.error for event in result.errors if event.error]
    return {
        "run_id": result.run_id,
        "plan_id": result.plan_id,
        "status": result.status,
        "ok": result.ok,
        "errors": errors,
    }
