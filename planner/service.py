"""`PlannerService`: one catalog, one model, one saver, and the calls that plan and run with them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.base import BaseCheckpointSaver

from planner.catalog import ActionCatalog
from planner.catalog.spec import Effect
from planner.context import NodeContext, RequestIdentity
from planner.drafting import (
    Drafter,
    DraftReplanner,
    InputParser,
    LanguageModel,
    ParsedInputs,
    PlanningContext,
    PlanResult,
    as_language_model,
)
from planner.events import PlanningEventCallback
from planner.execution import ExecutionResult, Found, PlanExecutor, RunRecord, RunRequest, RunStores
from planner.facade import PlanningFacade
from planner.limits import Limits
from planner.plan import CandidatePlan
from planner.runs import (
    BackgroundExecutionHandle,
    ExecutionEngine,
    OnComplete,
    RunPolicy,
    RunService,
    SecretProvider,
)
from skills import Problem, SkillRegistry
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.protocols import BlobStore
from storage.seed_protocols import StorageBackend
from storage.sessions import MemoryStorage

KEPT = 1000
"""Runs in the background that have ended and can still be found, where no store keeps them."""


class PlannerService(PlanningFacade):
    """Plans and runs for a whole application; `NodePlanner` speaks for one node of it.

    Args:
        catalog: What can be done.
        llm: A `LanguageModel`, or any LangChain chat model. Without one, goals are planned by types (`wants=`).
        checkpointer: Any LangGraph saver. Without one, a run is kept in memory while it goes on.
        limits: Bounds of every plan and run.
        blobs: Where outputs go that are too large for a record.
        stores: Where runs leave their records and events, under a lease, so that another process can go on with them.
            Without it, those in the background can be found until this process ends.
        resources: What parameters marked `Resource("name")` receive.
        approve: Effects whose actions run only when a person agrees, whatever they declare: `{"external"}`.
        callbacks: Functions that a run may name as its durable `on_complete`.
        secrets: Gives the secrets of runs that are taken up from another process.
        policy: How this process takes part in advancing runs.
        engine: Who is woken up to advance a run in the background; by default this process.
        skills: Instructions, examples and hints for drafts. One of the ids of `skills.library()` replaces ours there.
        sessions: Where conversations are kept; in this process by default.
    """

    def __init__(  # noqa: PLR0913 - every part can be given, and only the catalog has to be
        self,
        catalog: ActionCatalog,
        llm: LanguageModel | BaseChatModel | None = None,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
        stores: RunStores | None = None,
        resources: Mapping[str, Any] | None = None,
        approve: Iterable[Effect] = (),
        callbacks: Mapping[str, OnComplete] | None = None,
        secrets: SecretProvider | None = None,
        policy: RunPolicy | None = None,
        engine: ExecutionEngine | None = None,
        skills: SkillRegistry | None = None,
        sessions: StorageBackend | None = None,
    ) -> None:
        self.catalog = catalog
        self.llm = None if llm is None else as_language_model(llm)
        self.limits = limits or Limits()
        self.resources = dict(resources or {})
        policy = policy or RunPolicy()
        kept = stores or _in_this_process()
        self.executor = PlanExecutor(catalog, checkpointer, self.limits, blobs, stores=kept, lease=policy.lease)
        self.executor.approve_effects = frozenset(approve)
        self.run_service = RunService(
            self.executor,
            policy=policy if stores is not None else replace(policy, survive=False),
            engine=engine,
            callbacks=callbacks,
            secrets=secrets,
            resources=self.resources,
        )
        """The runs of this planner."""
        self._durable = stores is not None
        self.skills = SkillRegistry() if skills is None else skills
        self.sessions: StorageBackend = sessions or MemoryStorage()
        """Where conversations are kept."""
        self._drafter = Drafter(catalog, self.llm, self.limits, self.skills)
        self.executor.replanner = DraftReplanner(self._drafter)
        self._parser = InputParser(self.llm, catalog, self.limits, self.skills)
        self.exits = AsyncExitStack()
        """What is closed with the service: whoever opens something for it puts it here."""

    @property
    def caller(self) -> NodeContext:
        """Nobody in particular."""
        return NodeContext()

    async def plan_with_context(
        self, ctx: PlanningContext, *, on_event: PlanningEventCallback | None = None
    ) -> PlanResult:
        """Draft a plan for a request that is already one value."""
        return await self._drafter.draft(ctx, on_event)

    def skill_problems(self) -> list[Problem]:
        """Return what is wrong with the skills, also with their worked examples, which this reads and checks."""
        return self._drafter.skill_problems()

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
        request = self._with_resources(request)
        return await (
            self.run_service.execute(request) if self._durable else self.executor.execute(request, record=False)
        )

    async def start(self, request: RunRequest, on_complete: OnComplete | str | None) -> BackgroundExecutionHandle:
        """Run a plan in the background."""
        return await self.run_service.start(self._with_resources(request), on_complete)

    async def get_run(self, run_id: str, *, identity: RequestIdentity | None = None) -> BackgroundExecutionHandle:
        """Return the handle on a run; see `PlanningFacade.get_run`."""
        return await self.run_service.get(run_id, identity or self.caller.identity)

    async def list_runs(self, identity: RequestIdentity, **asked: Any) -> Found[RunRecord]:
        """Return runs; see `PlanningFacade.runs`."""
        return await self.run_service.list(identity, **asked)

    async def recover(self) -> int:
        """Take up what is due; see `PlanningFacade.recover`."""
        return await self.run_service.recover()

    async def aclose(self) -> None:
        """Let go of the runs that are under way, and close what was opened for the service.

        Runs that a store keeps go on when a planner with their actions is opened again; others are cancelled.
        """
        await self.run_service.aclose()
        await self.exits.aclose()

    def _with_resources(self, request: RunRequest) -> RunRequest:
        return replace(request, context=replace(request.context, resources=self.resources))


def _in_this_process() -> RunStores:
    """Return a store of runs that live and end with this process."""
    records = MemoryRecords()
    return RunStores(records=records, live=MemoryRuns(records, keep=KEPT))
