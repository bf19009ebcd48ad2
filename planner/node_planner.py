"""`NodePlanner`: the caller's facade, which fills in who calls and from which LangGraph node."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from planner.context import NodeContext, RequestIdentity
from planner.drafting import ParsedInputs, PlanningContext, PlanResult
from planner.events import PlanningEventCallback
from planner.execution import ExecutionResult, Found, RunRecord, RunRequest
from planner.facade import PlanningFacade
from planner.plan import CandidatePlan
from planner.runs import BackgroundExecutionHandle, OnComplete
from planner.service import PlannerService


class NodePlanner(PlanningFacade):
    """A planner for one node: identity, session, agent and app come from its context, and so do the tags of its runs.

    Runs get the tags `graph:…`, `node:…` and `run:…`, and the origin `agent` when there is an agent, else `user`.

    Args:
        service: What plans and runs.
        node_ctx: Where the calls come from: a `NodeContext`, or anything with its attributes.
    """

    def __init__(self, service: PlannerService, node_ctx: Any = None) -> None:
        self.service = service
        self.node_ctx: Any = node_ctx or NodeContext()

    execute = PlanningFacade.execute_plan
    """Run a plan and return what became of it: `execute_plan` under aethergraph's name."""

    @classmethod
    def from_config(cls, service: PlannerService, config: RunnableConfig | Runtime[Any]) -> "NodePlanner":
        """Make a planner for the LangGraph node that has been given `config`.

        Args:
            service: What plans and runs.
            config: The `RunnableConfig` or `Runtime` that LangGraph passes to the node. `user_id`, `org_id`, `roles`,
                `session_id`, `agent_id`, `app_id` and `graph_id` come from `configurable`, or from the context of a
                `Runtime`; the session is the thread where nothing else is said. Whoever sets these decides what may be
                called, so a server has to fill them in itself.
        """
        return cls(service, _from_runtime(config) if isinstance(config, Runtime) else _from_config(config))

    @property
    def caller(self) -> NodeContext:
        """The node's context."""
        context = self.node_ctx
        if isinstance(context, NodeContext):
            return context
        names = ("session_id", "agent_id", "app_id", "graph_id", "node_id", "run_id")
        known = {name: getattr(context, name, None) for name in names}
        return NodeContext(identity=getattr(context, "identity", None) or RequestIdentity(), **known)

    async def plan_with_context(
        self, ctx: PlanningContext, *, on_event: PlanningEventCallback | None = None
    ) -> PlanResult:
        """Draft a plan for a request that is already one value; the node's identity counts where it names none."""
        if ctx.identity == RequestIdentity():
            ctx = replace(ctx, **self.caller.asked_by(None))
        return await self.service.plan_with_context(ctx, on_event=on_event)

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
        return await self.service.parse_inputs(
            message=message, missing_keys=missing_keys, instruction=instruction, schemas=schemas, plan=plan
        )

    async def run(self, request: RunRequest) -> ExecutionResult:
        """Run a plan and return what became of it."""
        return await self.service.run(request)

    async def start(self, request: RunRequest, on_complete: OnComplete | str | None) -> BackgroundExecutionHandle:
        """Run a plan in the background."""
        return await self.service.start(request, on_complete)

    async def get_run(self, run_id: str, *, identity: RequestIdentity | None = None) -> BackgroundExecutionHandle:
        """Return the handle on a run; see `PlanningFacade.get_run`."""
        return await self.service.get_run(run_id, identity=identity or self.caller.identity)

    async def list_runs(self, identity: RequestIdentity, **asked: Any) -> Found[RunRecord]:
        """Return runs; see `PlanningFacade.runs`."""
        return await self.service.list_runs(identity, **asked)

    async def recover(self) -> int:
        """Take up what is due; see `PlanningFacade.recover`."""
        return await self.service.recover()

    async def aclose(self) -> None:
        """Close the service; see `PlannerService.aclose`."""
        await self.service.aclose()


def _from_config(config: RunnableConfig) -> NodeContext:
    configurable: Mapping[str, Any] = config.get("configurable", {})
    metadata: Mapping[str, Any] = config.get("metadata", {})
    run_id = config.get("run_id") or metadata.get("run_id") or configurable.get("run_id")
    return _context(
        configurable,
        thread_id=configurable.get("thread_id"),
        graph_id=metadata.get("graph_id") or metadata.get("assistant_id"),
        node_id=metadata.get("langgraph_node"),
        run_id=run_id,
    )


def _from_runtime(runtime: Runtime[Any]) -> NodeContext:
    info, server = runtime.execution_info, runtime.server_info
    context: Any = runtime.context
    known: Mapping[str, Any] = (
        cast("Mapping[str, Any]", context) if isinstance(context, Mapping) else getattr(context, "__dict__", {})
    )
    namespace = info.checkpoint_ns if info is not None else ""
    return _context(
        known,
        thread_id=info.thread_id if info is not None else None,
        graph_id=server.graph_id if server is not None else None,
        node_id=namespace.rpartition("|")[2].partition(":")[0] or None,
        run_id=info.run_id if info is not None else None,
    )


def _context(known: Mapping[str, Any], *, thread_id: Any, graph_id: Any, node_id: Any, run_id: Any) -> NodeContext:
    roles: Any = known.get("roles") or ()
    identity = RequestIdentity(
        user_id=str(known.get("user_id") or "local"),
        org_id=str(known.get("org_id") or "local"),
        roles=(roles,) if isinstance(roles, str) else tuple(roles),
    )
    return NodeContext(
        identity=identity,
        session_id=_text(known.get("session_id") or thread_id),
        agent_id=_text(known.get("agent_id")),
        app_id=_text(known.get("app_id")),
        graph_id=_text(known.get("graph_id") or graph_id),
        node_id=_text(node_id),
        run_id=_text(run_id),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
