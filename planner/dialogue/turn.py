"""One turn: the message that is being answered, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from langchain_core.utils.uuid import uuid7

from planner.dialogue.intents import IntentMode
from planner.dialogue.parts import Parts
from planner.dialogue.state import MAX_RUNNING, PendingQuestion, SessionState
from planner.dialogue.wording import about, cleaned
from planner.drafting import PlanResult, Usage
from planner.drafting.confidential import redacted
from planner.events import ExecutionEventCallback, PlanningEventCallback
from planner.execution import ExecutionResult
from planner.execution.secrets import secrets_in
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan


@dataclass(kw_only=True)
class AgentTurnResult:
    """The answer to one message; the fields up to `execution` are aethergraph's."""

    mode: IntentMode
    message_to_user: str | None = None
    """What to show; always there after `handle_turn`."""
    plan: CandidatePlan | None = None
    """The plan that the turn is about, run or not."""
    execution: ExecutionResult | None = None
    """What became of it, when it was run."""
    question: PendingQuestion | None = None
    """What the user is asked now; `question.form` is for whoever shows a form."""
    planning: PlanResult | None = None
    """How the plan came about, when one was drafted in this turn."""
    changes: Sequence[str] = ()
    """A line for each difference between the plan that was shown before and this one."""
    usage: Usage = field(default_factory=Usage)
    """Of the model, for the whole turn."""


@dataclass(kw_only=True)
class Turn:
    """One message, and what has come of it so far."""

    parts: Parts
    state: SessionState
    message: str
    base: dict[str, Any] = field(default_factory=dict[str, Any])
    """The state as it was stored last, by `to_stored`."""
    seen: str = ""
    """The id of the question that the user saw."""
    surely_seen: bool = True
    """Whether the user did see it, as far as this process knows; another may have died before it put the question."""
    unseen: bool = False
    """Whether that is what happened, as the stored messages tell."""
    answered: str = ""
    """The question that the message answers: whoever answers it first in the session has answered it."""
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

    async def save(self) -> None:
        """Store what this turn has changed, if anything.

        Raises:
            UnstorableOutput: the question that is open cannot be stored.
        """
        self.base = await self.parts.memory.save(self.state, since=self.base)

    async def claim(self, what: str) -> str:
        """Take the question that is answered for `what`; returns what it was taken for first, in any process."""
        if not self.answered:
            return what
        return await self.parts.memory.claim(self.state, self.answered, what)

    def says(self, text: str, **more: Any) -> AgentTurnResult:
        """Return the answer, behind what is said before it."""
        told = cleaned("\n\n".join(part for part in (*self.before, text) if part))  # also what an action gave
        return AgentTurnResult(
            mode=self.mode, message_to_user=told or "…", planning=self.planning, usage=self.usage, **more
        )

    def asks(self, pending: PendingQuestion, **more: Any) -> AgentTurnResult:
        """Leave `pending` open, and return it as the answer; one that was not open before gets an id of its own."""
        now, before = datetime.now(UTC), self.state.pending
        known = before is not None and pending == before.model_copy(update={"asked_at": pending.asked_at})
        asked_at = {"asked_at": now, **({} if known else {"id": str(uuid7())})}
        pending = pending.model_copy(update=asked_at)
        self.parts.note_put(pending.id)
        self.state.pending = pending
        return self.says(pending.text, question=pending, **{"plan": pending.plan, **more})

    def seen_now(self, pending: PendingQuestion) -> PendingQuestion:
        """Return the question as one that its user sees again, where that was long ago."""
        now = datetime.now(UTC)
        self.parts.note_put(pending.id)
        long_ago = pending.asked_at is not None and now - pending.asked_at > self.parts.stale_after
        return pending.model_copy(update={"asked_at": now}) if long_ago else pending

    def runs(self, run_id: str) -> None:
        """Note a run whose end is to be told."""
        others = [one for one in self.state.running if one != run_id]
        self.state.running = [*others, run_id][-MAX_RUNNING:]

    def told(self, run_id: str) -> None:
        """Note that nothing more is to be told of a run."""
        self.state.running = [one for one in self.state.running if one != run_id]

    def answers_run(self, run_id: str) -> bool:
        """Tell whether what is pending is about this run."""
        return self.state.pending is not None and self.state.pending.run_id == run_id

    def set_aside(self) -> None:
        """Close what is pending because something else comes in its place, and say so."""
        pending = self.state.pending
        if pending is None:
            return
        first = about(pending)
        if pending.kind == "run":
            self.before.append(f"Your run still waits for an answer (run {pending.run_id}): {first}")
        elif first and pending.kind == "plan" and pending.goal:
            self.before.append(f"I set aside the plan for: {redacted(' '.join(pending.goal.split()))[:120]}")
        elif first:
            self.before.append(f"I set aside what I had asked: {first}")
        self.forget()

    def forget(self) -> None:
        """Close what is pending."""
        pending, self.state.pending = self.state.pending, None
        if pending is not None and pending.run_id is not None and pending.run_id not in self.state.running:
            self.parts.held.pop(pending.run_id, None)
