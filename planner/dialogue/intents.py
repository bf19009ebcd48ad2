"""What a message is taken for, before anything is done about it."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from planner.dialogue.state import SessionState

IntentMode = Literal["chat_only", "quick_action", "plan_and_execute", "answer"]
"""A reply in words; a named function; a goal; or the answer to what was asked."""
Reply = Literal["values", "approve", "drop", "change"]


@dataclass(kw_only=True)
class RoutedIntent:
    """What a message is taken for; the fields up to `metadata` are aethergraph's."""

    mode: IntentMode
    flow_ids: list[str] | None = None
    """Groups of actions to plan with; `None` for those of the session, or all."""
    quick_action_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a router found out beside that, for whoever comes after it."""
    goal: str | None = None
    """The goal, said so that it stands alone and in the language of the catalog; the message itself by default."""
    reply: Reply = "values"
    """Of an answer: values, an agreement, a refusal, or a wish to change the plan that was shown."""
    argument: str = ""
    """Of a quick action: what stands behind its name."""
    certain: bool = True
    """Whether a rule said so, rather than that no rule said otherwise: a model is only asked when it is not."""


class IntentRouter(Protocol):
    """Decides what a message is. It never raises: what it does not understand is a goal."""

    async def route(self, *, user_message: str, session_state: SessionState) -> RoutedIntent:
        """Return what `user_message` is taken for, given what is open in the session."""
        ...
