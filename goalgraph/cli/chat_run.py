"""The run of a turn, shown while the turn goes on."""

import asyncio
from contextlib import ExitStack, suppress

from rich.console import Console

from goalgraph.live import RunProgress, shown_until
from planner.context import RequestIdentity
from planner.dialogue import AgentTurnResult
from planner.errors import RunNotFound
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from planner.runs import RunService
from planner.runs.following import as_told


class _NothingRan(Exception):
    """The turn ended without the result of a run."""


class TurnRun:
    """The run that a turn starts or goes on with, if it does.

    Args:
        service: The runs of the planner.
        identity: Whose they are.
        console: Where the run is shown.
        run_id: The run that is there already.
    """

    def __init__(
        self, service: RunService, identity: RequestIdentity, console: Console, run_id: str | None = None
    ) -> None:
        self._service = service
        self._identity = identity
        self._console = console
        self._found = asyncio.Event()
        self.run_id = run_id
        if run_id is not None:
            self._found.set()

    def take(self, event: ExecutionEvent) -> None:
        """Note that a run has begun."""
        if event.run_id and self.run_id is None:
            self.run_id = event.run_id
            self._found.set()

    def stop(self, turn: asyncio.Task[AgentTurnResult]) -> None:
        """Stop the run in good order when it is advanced here, else only the turn: a run elsewhere goes on."""
        if self.run_id is not None and self.run_id in self._service.access.executor.active:
            self._service.stop(self.run_id, self._identity)
        else:
            turn.cancel()

    async def shown(self, turn: asyncio.Task[AgentTurnResult]) -> AgentTurnResult:
        """Return what comes of the turn; until then show its run, from the first event that is new.

        Raises:
            CancelledError: the turn was stopped.
        """
        begun = self.run_id is not None
        found = asyncio.create_task(self._found.wait())
        try:
            await asyncio.wait({turn, found}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            found.cancel()
        if self.run_id is not None:
            with suppress(RunNotFound, _NothingRan):
                await self._follow(self.run_id, turn, begun=begun)
        return await turn

    async def _follow(self, run_id: str, turn: asyncio.Task[AgentTurnResult], *, begun: bool) -> None:
        service, identity = self._service, self._identity
        record = await service.record(run_id, identity)
        progress = RunProgress(CandidatePlan.from_dict(record.plan), self._console, lambda _: "below")
        if begun:
            progress.catch_up([as_told(one) for one in await service.access.runs.events(run_id, identity)])

        async def result() -> ExecutionResult:
            execution = (await turn).execution
            if execution is None:
                raise _NothingRan
            return execution

        with ExitStack() as exits:

            def show(event: ExecutionEvent) -> None:
                if not shown:
                    shown.append(exits.enter_context(progress))
                progress(event)

            shown: list[RunProgress] = []
            await shown_until(lambda after: service.events(run_id, identity, after=after), show, result(), progress.run)
