"""A run that this process advances, and who waits for it here."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from planner.context import RequestIdentity
from planner.execution.attempt import LINGER
from planner.execution.history import Start
from planner.execution.outcome import ExecutionResult
from planner.execution.request import RunRequest
from planner.execution.state import RunState


@dataclass(slots=True)
class Active:
    """A run that this process advances."""

    start: Start
    state: RunState
    runner: asyncio.Task[ExecutionResult]
    request: RunRequest
    """Of the call that began it."""
    new: bool
    """Whether that call also recorded it."""
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    """Callers that wait for it; when the last is cancelled, so is the run."""
    handed_back: bool = False
    """Whether it was left to other processes."""

    def abort(self) -> None:
        """Give the run up: it was stopped and does not end, because its store does not answer."""
        self.runner.cancel()
        self.aborted.set()

    async def hand_back(self, grace: float) -> None:
        """Begin no further action, give those that work `grace` seconds, and leave the rest of the run to others."""
        self.handed_back = True
        self.state.gates.run.shut()
        await self.state.inner.idle(grace)
        if self.state.acknowledgements is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self.state.acknowledgements.idle()
        self.runner.cancel()
        await asyncio.wait({self.runner})

    async def ended(self) -> bool:
        """Wait until the run has ended, or was given up; return which."""
        aborted = asyncio.create_task(self.aborted.wait())
        try:
            await asyncio.wait({self.runner, aborted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            aborted.cancel()
        return self.runner.done() and not self.runner.cancelled()


@dataclass(slots=True)
class Entering:
    """A run id that calls of this process are about to take up, one after the other."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    callers: int = 0
    stops: list[RequestIdentity | None] = field(default_factory=list[RequestIdentity | None])
    """Who cancelled it meanwhile; `None`: this process itself."""

    def cancelled(self, identity: RequestIdentity) -> bool:
        """Whether it was cancelled that is entered for `identity`; of another owner's run there may be the same id."""
        owner = (identity.org_id, identity.user_id)
        return any(one is None or (one.org_id, one.user_id) == owner for one in self.stops)


class Turns:
    """Lets the calls of a process take a run up one after the other."""

    def __init__(self) -> None:
        self._entering: dict[str, Entering] = {}

    def of_now(self, run_id: str) -> Entering | None:
        """Return what is being taken up under an id now."""
        return self._entering.get(run_id)

    @asynccontextmanager
    async def of(self, run_id: str) -> AsyncGenerator[Entering]:
        """Wait until it is this call's turn."""
        entering = self._entering.setdefault(run_id, Entering())
        entering.callers += 1
        try:
            async with entering.turn:
                yield entering
        finally:
            entering.callers -= 1
            if entering.callers == 0:
                del self._entering[run_id]
