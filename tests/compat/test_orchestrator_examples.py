"""aethergraph's orchestrator is put together and called as there: its parts in order, its names, its shapes."""

from typing import Any

from goalgraph import (
    ActionCatalog,
    AgentOrchestrator,
    AgentTurnResult,
    PlannerService,
    PlanningContext,
    QuickActionRegistry,
    QuickActionSpec,
    RoutedIntent,
    ScriptedModel,
    SessionState,
    action,
)
from planner.execution import ExecutionResult

PLAN: dict[str, Any] = {"steps": [{"id": "measure", "action": "measure", "inputs": {"key1": 2}}]}


@action(effect="write")
async def measure(key1: int = 1) -> int:
    """Measure the workflow."""
    return key1 * 2


class SimpleIntentRouter:
    """As there: everything is a goal, unless the message says otherwise."""

    async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
        if user_message == "status":
            return RoutedIntent(mode="quick_action", quick_action_id="status")
        if user_message == "hello":
            return RoutedIntent(mode="chat_only")
        return RoutedIntent(mode="plan_and_execute", flow_ids=session_state.last_flow_ids, metadata={"by": "rule"})


class SimplePlanningContextBuilder:
    """As there: the goal is the message."""

    async def build(self, *, user_message: str, routed: RoutedIntent, session_state: SessionState) -> PlanningContext:
        return PlanningContext(goal=user_message.strip(), user_inputs={}, flow_ids=routed.flow_ids)


class PlanExecutor:
    """As there: a plan and its inputs."""

    async def execute(self, plan: Any, *, user_inputs: dict[str, Any]) -> ExecutionResult:
        assert {} == user_inputs
        return ExecutionResult(ok=True, outputs={"result": 4})


async def status(*, context: Any) -> str:
    """A handler, as there."""
    return f"fine, {context.user_message}"


async def talk(*messages: str, executor: Any) -> list[AgentTurnResult]:
    service = PlannerService(ActionCatalog([measure]), ScriptedModel([PLAN, "Hello!"]))
    orchestrator = AgentOrchestrator(
        SimpleIntentRouter(),
        SimplePlanningContextBuilder(),
        service,
        executor,
        QuickActionRegistry({"status": QuickActionSpec("status", "How it is.")}, {"status": status}),
        review="never",
    )
    state = SessionState(last_flow_ids=["lab"])
    try:
        return [await orchestrator.handle_turn(user_message=one, session_state=state) for one in messages]
    finally:
        await service.aclose()


async def test_a_turn_is_called_as_there_and_gives_what_it_gives_there() -> None:
    planned, quick, chat = await talk("Optimize workflow", "status", "hello", executor=PlanExecutor())

    assert ("plan_and_execute", "measure", True, {"result": 4}) == (
        planned.mode,
        planned.plan.steps[0].id if planned.plan else "",
        planned.execution.ok if planned.execution else False,
        planned.execution.outputs if planned.execution else {},
    )
    assert ("quick_action", "fine, status", None) == (quick.mode, quick.message_to_user, quick.plan)
    assert ("chat_only", "Hello!") == (chat.mode, chat.message_to_user)


async def test_without_an_executor_the_planner_runs_the_plan() -> None:
    (planned,) = (await talk("Optimize workflow", "hello", executor=None))[:1]

    assert planned.execution is not None
    assert {"result": 4} == planned.execution.outputs
    assert planned.execution.run_id
