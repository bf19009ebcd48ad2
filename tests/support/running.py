"""Runs small plans in tests: a catalog of functions, an executor, and what happened."""

import asyncio
from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from planner.catalog import ActionCatalog
from planner.context import RequestIdentity, RunContext
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult, PlanExecutor, RunRequest
from planner.limits import Limits
from planner.plan import CandidatePlan
from storage.protocols import BlobStore


def make_plan(*steps: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> CandidatePlan:
    return CandidatePlan.from_dict({"steps": list(steps), "outputs": dict(outputs or {})})


async def loop_turn() -> None:
    """Let everything else that is ready go first."""
    turn = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(turn.set_result, None)
    await turn


class Runner:
    """One executor, and the events of everything it ran."""

    def __init__(
        self,
        *actions: object,
        saver: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
        catalog: ActionCatalog | None = None,
        identity: RequestIdentity | None = None,
    ) -> None:
        self.identity = identity or RequestIdentity()
        self.catalog = catalog or ActionCatalog()
        for item in actions:
            self.catalog.add(item)
        self.executor = PlanExecutor(self.catalog, saver, limits, blobs)
        self.events: list[ExecutionEvent] = []
        self._waiting: list[tuple[str, str | None, int, asyncio.Event]] = []

    def listen(self, event: ExecutionEvent) -> None:
        self.events.append(event)
        for phase, step_id, count, reached in self._waiting:
            if self.phases(step_id).count(phase) >= count:
                reached.set()

    async def until(self, phase: str, step_id: str | None = None, count: int = 1) -> None:
        """Wait until `phase` was told `count` times."""
        reached = asyncio.Event()
        self._waiting.append((phase, step_id, count, reached))
        if self.phases(step_id).count(phase) >= count:
            reached.set()
        async with asyncio.timeout(20):
            await reached.wait()

    async def run(
        self,
        plan: CandidatePlan,
        run_id: str = "run-1",
        user_inputs: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ExecutionResult:
        context = RunContext(run_id=run_id, resources=resources or {}, identity=self.identity)
        request = RunRequest(plan=plan, user_inputs=user_inputs or {}, context=context, on_event=self.listen, **options)
        return await self.executor.execute(request)

    def phases(self, step_id: str | None = None) -> list[str]:
        return [event.phase for event in self.events if step_id is None or event.step_id == step_id]
