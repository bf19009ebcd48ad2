"""Runs small plans in tests: a catalog of functions, an executor, and what happened."""

from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from planner.catalog import ActionCatalog
from planner.context import RunContext
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult, PlanExecutor, RunRequest
from planner.limits import Limits
from planner.plan import CandidatePlan
from storage.protocols import BlobStore


def make_plan(*steps: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> CandidatePlan:
    return CandidatePlan.from_dict({"steps": list(steps), "outputs": dict(outputs or {})})


class Runner:
    """One executor, and the events of everything it ran."""

    def __init__(
        self,
        *actions: object,
        saver: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
        catalog: ActionCatalog | None = None,
    ) -> None:
        self.catalog = catalog or ActionCatalog()
        for item in actions:
            self.catalog.add(item)
        self.executor = PlanExecutor(self.catalog, saver, limits, blobs)
        self.events: list[ExecutionEvent] = []

    async def run(
        self,
        plan: CandidatePlan,
        run_id: str = "run-1",
        user_inputs: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ExecutionResult:
        context = RunContext(run_id=run_id, resources=resources or {})
        request = RunRequest(
            plan=plan, user_inputs=user_inputs or {}, context=context, on_event=self.events.append, **options
        )
        return await self.executor.execute(request)

    def phases(self, step_id: str | None = None) -> list[str]:
        return [event.phase for event in self.events if step_id is None or event.step_id == step_id]
