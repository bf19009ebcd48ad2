"""What a plan is asked for with: the goal, and what of the session helps to reach it."""

from typing import Any, Protocol

from pydantic import SecretBytes, SecretStr

from planner.dialogue.intents import RoutedIntent
from planner.dialogue.state import SessionState
from planner.dialogue.stored import is_confidential
from planner.drafting import PlanningContext

GOAL_CHARS = 20_000
"""A longer goal is cut, and says so: what is longer is content, which belongs into a value."""
OWN_WORDS = 2_000
"""Characters of the user's words, where a goal was restated."""
PREFERRED = 5
"""Values, the newest, that a plan should rather bind than ask for."""


class Snippets(Protocol):
    """Gives what of a session is about a text; `DialogueMemory` does."""

    async def snippets(self, state: SessionState, text: str) -> list[str]:
        """Return messages, in order of time."""
        ...

    def artifacts(self, state: SessionState, text: str) -> list[str]:
        """Return what earlier runs gave."""
        ...


class PlanningContextBuilder:
    """Builds requests for plans.

    Args:
        memory: Gives the snippets; without it, a goal stands alone.
        use_values: Whether a plan may bind values of earlier runs. Leave it off without a model: planning by types
            takes any value that fits, and that of last time may not be meant.
    """

    def __init__(self, memory: Snippets | None = None, *, use_values: bool = False) -> None:
        self.memory = memory
        self.use_values = use_values

    async def build(self, *, user_message: str, routed: RoutedIntent, session_state: SessionState) -> PlanningContext:
        """Return the request for a plan.

        The goal is the one that `routed` gives, else the message; where it was restated, the user's own words are the
        last memory snippet. No value that looks like a secret is in it.
        """
        message = user_message.strip()
        goal = _cut((routed.goal or message).strip(), GOAL_CHARS)
        memory, artifacts = [], []
        if self.memory is not None:
            memory = await self.memory.snippets(session_state, goal)
            artifacts = self.memory.artifacts(session_state, goal)
        if routed.goal and not message.endswith(goal):  # behind /plan stands the goal itself
            memory = [*memory, f"the user's own words: {_cut(message, OWN_WORDS)}"]
        values = _values(session_state) if self.use_values else {}
        return PlanningContext(
            goal=goal,
            user_inputs=values,
            memory_snippets=memory,
            artifact_snippets=artifacts,
            flow_ids=session_state.last_flow_ids if routed.flow_ids is None else routed.flow_ids,
            allow_partial_plans=True,
            preferred_external_keys=list(reversed(values))[:PREFERRED] or None,
            identity=session_state.identity,
        )


def _values(state: SessionState) -> dict[str, Any]:
    return {
        name: value
        for name, value in state.values.items()
        if not isinstance(value, SecretStr | SecretBytes) and not is_confidential(name, value)
    }


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]} … ({len(text) - chars:,} more characters)"
