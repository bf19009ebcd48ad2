"""What comes of one turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from planner.dialogue.intents import IntentMode
from planner.dialogue.state import PendingQuestion
from planner.drafting import PlanResult, Usage
from planner.execution import ExecutionResult
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
