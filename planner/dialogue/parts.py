"""What the pieces of a turn work with: the parts of an agent, and the one message that is being answered."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from planner.catalog import ActionSpec
from planner.context import NodeContext
from planner.dialogue.intents import IntentMode, RoutedIntent
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.quick_actions import QuickActionRegistry
from planner.dialogue.state import PendingQuestion, SessionState
from planner.dialogue.turn import AgentTurnResult
from planner.dialogue.wording import cleaned
from planner.drafting import PlanningContext, PlanResult, Usage
from planner.events import ExecutionEventCallback, PlanningEventCallback
from planner.execution import ExecutionResult
from planner.execution.secrets import secrets_in
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan
from planner.service import PlannerService

Review = Literal["always", "effects", "never"]
"""Which plans are shown before they run: all, those that do more than read, or none."""

YES_OR_NO: dict[str, Any] = {"type": "boolean"}
"""The form of a question that is agreed to or not."""

MOST_HELD = 1000
"""Runs whose secrets are held, the newest."""


class ContextBuilder(Protocol):
    """Gathers what a plan is asked for with; aethergraph's interface."""

    def build(
        self, *, user_message: str, routed: RoutedIntent, session_state: SessionState
    ) -> Awaitable[PlanningContext] | PlanningContext:
        """Return the request for a plan; sync or async."""
        ...


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
    held: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Run id → the inputs that no store may see: they live here and end with this process."""

    def hold(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Keep inputs of a run that are not stored."""
        if values:
            self.held[run_id] = {**self.held.pop(run_id, {}), **values}
        while len(self.held) > MOST_HELD:
            del self.held[next(iter(self.held))]

    def inputs_of(self, pending: PendingQuestion) -> dict[str, Any]:
        """Return all inputs that are there for what is pending."""
        return {**pending.inputs, **self.held.get(pending.run_id or "", {})}

    def allowed(self, state: SessionState, flow_ids: Sequence[str] | None = None) -> list[ActionSpec]:
        """Return what the user of a session may have done."""
        specs = self.service.catalog.iter_actions(flow_ids=flow_ids)
        return [spec for spec in specs if spec.allows(state.identity)]


@dataclass(kw_only=True)
class Turn:
    """One message, and what has come of it so far."""

    parts: Parts
    state: SessionState
    message: str
    values: Any = None
    """What was filled into the form of the question; `None` for a message in words."""
    confidential: bool = False
    """Whether the message may hold secrets: it is shown to no model then, and not stored."""
    mode: IntentMode = "chat_only"
    on_planning_event: PlanningEventCallback | None = None
    on_execution_event: ExecutionEventCallback | None = None
    before: list[str] = field(default_factory=list[str])
    """What is said before the answer itself."""
    usage: Usage = field(default_factory=Usage)
    planning: PlanResult | None = None

    @property
    def planner(self) -> NodePlanner:
        """What plans and runs, for the user of this session."""
        state = self.state
        context = replace(self.parts.caller, identity=state.identity, session_id=state.session_id or None)
        return NodePlanner(self.parts.service, context)

    def planned(self, result: PlanResult) -> PlanResult:
        """Take note of how a plan came about."""
        self.planning = result
        self.usage += result.usage
        return result

    def secrets(self, run_id: str | None) -> dict[str, str]:
        """Return the secret texts of a run, which are kept out of what is said."""
        return secrets_in(self.parts.held.get(run_id or "", {}))

    def says(self, text: str, **more: Any) -> AgentTurnResult:
        """Return the answer, behind what is said before it."""
        told = cleaned("\n\n".join(part for part in (*self.before, text) if part))  # also what an action gave
        return AgentTurnResult(
            mode=self.mode, message_to_user=told or "…", planning=self.planning, usage=self.usage, **more
        )

    def asks(self, pending: PendingQuestion, **more: Any) -> AgentTurnResult:
        """Leave `pending` open, and return it as the answer."""
        self.state.pending = pending
        return self.says(pending.text, question=pending, **{"plan": pending.plan, **more})

    def answers_run(self, run_id: str) -> bool:
        """Tell whether what is pending is about this run."""
        return self.state.pending is not None and self.state.pending.run_id == run_id

    def set_aside(self) -> None:
        """Close what is pending because something else comes in its place, and say so."""
        pending = self.state.pending
        if pending is None:
            return
        first = pending.text.partition("\n")[0][:120]
        if pending.kind == "run":
            self.before.append(f"Your run still waits for an answer (run {pending.run_id}): {first}")
        elif first:
            self.before.append(f"I set aside what I had asked: {first}")
        self.forget()

    def forget(self) -> None:
        """Close what is pending."""
        pending, self.state.pending = self.state.pending, None
        if pending is not None and pending.run_id is not None and pending.run_id != self.state.running:
            self.parts.held.pop(pending.run_id, None)
