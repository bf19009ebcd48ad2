"""`PlannerService`: one catalog, one model, one saver, and the calls that plan and run with them."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.base import BaseCheckpointSaver

from planner.catalog import ActionCatalog
from planner.context import NodeContext
from planner.drafting import (
    Drafter,
    InputParser,
    LanguageModel,
    ParsedInputs,
    PlanningContext,
    PlanResult,
    as_language_model,
)
from planner.events import PlanningEventCallback
from planner.execution import (
    BackgroundExecutionHandle,
    BackgroundRuns,
    ExecutionResult,
    OnComplete,
    PlanExecutor,
    RunRequest,
)
from planner.facade import PlanningFacade
from planner.limits import Limits
from planner.plan import CandidatePlan
from storage.protocols import BlobStore, RecordStore
from storage.serde import ValueCodec


class PlannerService(PlanningFacade):
    """Plans and runs for a whole application; `NodePlanner` speaks for one node of it.

    Args:
        catalog: What can be done.
        llm: A `LanguageModel`, or any LangChain chat model. Without one, goals are planned by types (`wants=`).
        checkpointer: Any LangGraph saver. Without one, a run is kept in memory while it goes on.
        limits: Bounds of every plan and run.
        blobs: Where outputs go that are too large for a record.
        records: Where each run leaves its record and its events; without it, none are kept.
        codec: How they are written; as plain data by default.
        resources: What parameters marked `Resource("name")` receive.
    """

    def __init__(
        self,
        catalog: ActionCatalog,
        llm: LanguageModel | BaseChatModel | None = None,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
        records: RecordStore | None = None,
        codec: ValueCodec | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        self.catalog = catalog
        self.llm = None if llm is None else as_language_model(llm)
        self.limits = limits or Limits()
        self.resources = dict(resources or {})
        self.executor = PlanExecutor(catalog, checkpointer, self.limits, blobs, records, codec)
        self._drafter = Drafter(catalog, self.llm, self.limits)
        self._parser = InputParser(self.llm, catalog, self.limits)
        self.exits = AsyncExitStack()
        """What is closed with the service: whoever opens something for it puts it here."""
        self._background = BackgroundRuns(self.executor)

    @property
    def caller(self) -> NodeContext:
        """Nobody in particular."""
        return NodeContext()

    async def plan_with_context(
        self, ctx: PlanningContext, *, on_event: PlanningEventCallback | None = None
    ) -> PlanResult:
        """Draft a plan for a request that is already one value."""
        return await self._drafter.draft(ctx, on_event)

    async def parse_inputs(
        self,
        *,
        message: str,
        missing_keys: Sequence[str],
        instruction: str | None = None,
        schemas: Mapping[str, Any] | None = None,
        plan: CandidatePlan | None = None,
    ) -> ParsedInputs:
        """Read the values of `missing_keys` from what a user wrote; see `PlanningFacade.parse_inputs`."""
        return await self._parser.parse_message_for_fields(
            message=message, missing_keys=missing_keys, instruction=instruction, schemas=schemas, plan=plan
        )

    async def run(self, request: RunRequest) -> ExecutionResult:
        """Run a plan and return what became of it."""
        return await self.executor.execute(self._with_resources(request))

    def start(self, request: RunRequest, on_complete: OnComplete | None) -> BackgroundExecutionHandle:
        """Run a plan in the background."""
        return self._background.start(self._with_resources(request), on_complete)

    async def aclose(self) -> None:
        """Cancel the background runs that are under way, wait for them, and close what was opened for the service."""
        await self._background.close()
        await self.exits.aclose()

    def _with_resources(self, request: RunRequest) -> RunRequest:
        return replace(request, context=replace(request.context, resources=self.resources))
