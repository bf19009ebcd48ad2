"""What an agent is made of, and what an application may put in the place of its parts."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

from planner.catalog import ActionSpec
from planner.context import NodeContext
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.quick_actions import QuickActionRegistry
from planner.dialogue.state import PendingQuestion, SessionState
from planner.drafting import PlanningContext
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from planner.service import PlannerService

Review = Literal["always", "effects", "never"]
"""Which plans are shown before they run: all, those that do more than read, or none."""

YES_OR_NO: dict[str, Any] = {"type": "boolean"}
"""The form of a question that is agreed to or not."""

MOST_HELD = 1000
"""Runs whose secrets are held, and questions that were put, the newest of each."""


class ContextBuilder(Protocol):
    """Gathers what a plan is asked for with; aethergraph's interface."""

    def build(
        self, *, user_message: str, routed: RoutedIntent, session_state: SessionState
    ) -> Awaitable[PlanningContext] | PlanningContext:
        """Return the request for a plan; sync or async."""
        ...


class NoContext(Exception):
    """A context builder of the application failed; what it raised is the cause."""


class Executor(Protocol):
    """Runs a plan; aethergraph's interface."""

    async def execute(self, plan: CandidatePlan, *, user_inputs: dict[str, Any]) -> ExecutionResult:
        """Run `plan` and return what became of it."""
        ...


@dataclass(kw_only=True)
class Parts:
    """What an agent is made of."""

    service: PlannerService
    caller: NodeContext
    """Where the agent is used: its agent, app and graph go into runs, and the flow that it is in into no plan."""
    memory: DialogueMemory
    context_builder: ContextBuilder
    executor: Executor | None
    """`None` for the planner, whose runs outlive this process."""
    quick_actions: QuickActionRegistry
    review: Review
    patience: float | None
    stale_after: timedelta
    put: dict[str, None] = field(default_factory=dict[str, None])
    """Ids of the questions that this process has put, in order."""
    held: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Run id → the inputs that no store may see: they live here and end with this process."""

    def hold(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Keep inputs of a run that are not stored.

        Raises:
            ValueError: nothing says of which run, so they could be taken for those of another user's.
        """
        if values and not run_id:
            raise ValueError("a question about values has the id of a run, under which secrets are held")
        if values:
            self.held[run_id] = {**self.held.pop(run_id, {}), **values}
        while len(self.held) > MOST_HELD:
            del self.held[next(iter(self.held))]

    def note_put(self, question_id: str) -> None:
        """Note that a user has seen a question."""
        self.put.pop(question_id, None)
        self.put[question_id] = None
        while len(self.put) > MOST_HELD:
            del self.put[next(iter(self.put))]

    def inputs_of(self, pending: PendingQuestion) -> dict[str, Any]:
        """Return all inputs that are there for what is pending."""
        return {**pending.inputs, **self.held.get(pending.run_id or "", {})}

    def allowed(self, state: SessionState, flow_ids: Sequence[str] | None = None) -> list[ActionSpec]:
        """Return what the user of a session may have done."""
        specs = self.service.catalog.iter_actions(flow_ids=flow_ids)
        return [spec for spec in specs if spec.allows(state.identity)]


def no_planner(given: object) -> str:
    """Say what to give as a planner."""
    return (
        f"planner is a NodePlanner or a PlannerService, not {type(given).__name__}; give the one that open_planner() "
        "opens: AgentOrchestrator(planner=planner)"
    )


def check_parts(router: object, context_builder: object, quick_actions: object, memory: object) -> None:
    """Make sure that what an application gives is what it is taken for.

    Raises:
        TypeError: it is not; says what to give.
    """
    if router is not None:
        _check_method("router", router, "route")
    if context_builder is not None:
        _check_method("context_builder", context_builder, "build")
    if quick_actions is not None:
        check_kind(
            "quick_actions", quick_actions, QuickActionRegistry, "QuickActionRegistry({id: spec}, {id: handler})"
        )
    if memory is not None:
        advice = "a policy goes into one: DialogueMemory(planner.service.sessions, policy=MemoryPolicy())"
        check_kind("memory", memory, DialogueMemory, advice)


def own_executor(executor: Any, service: PlannerService) -> Executor | None:
    """Return what runs plans beside the planner; `None` where that is the planner itself."""
    if executor in (None, service, service.executor) or getattr(executor, "service", None) is service:
        return None
    if not callable(getattr(executor, "execute", None)):
        raise TypeError(
            f"executor has `async execute(plan, user_inputs=…)`, which a {type(executor).__name__} does not have; "
            "leave it out, and the planner runs the plans"
        )
    return executor


def _check_method(name: str, part: object, method: str) -> None:
    """Make sure that a part of an agent has its method.

    Raises:
        TypeError: it has not, or is a class; says what to give.
    """
    if isinstance(part, type):
        raise TypeError(f"{name} is the class {part.__name__} itself; give an instance of it: {part.__name__}(…)")
    if not callable(getattr(part, method, None)):
        raise TypeError(f"{name} has `{method}(…)`, which a {type(part).__name__} does not have")


def check_kind(name: str, part: object, kind: type, advice: str) -> None:
    """Make sure that a part of an agent is of this class.

    Raises:
        TypeError: it is not; says what to give.
    """
    if not isinstance(part, kind):
        what = f"the class {part.__name__}" if isinstance(part, type) else type(part).__name__
        raise TypeError(f"{name} is a {kind.__name__}, not {what}; {advice}")
