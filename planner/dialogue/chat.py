"""Answers in words: from the model, or a plain sentence about what can be done."""

import logging
from collections.abc import Sequence

from planner.catalog import ActionCatalog, ActionSpec
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.dialogue.wording import LONGEST_ANSWER, abilities, cleaned, cut
from planner.drafting import LanguageModel, Message
from planner.drafting.language_model import completion_of
from planner.drafting.prompts import DATA_RULE, data
from planner.drafting.signatures import catalog_text
from planner.errors import ModelError
from skills.shipped import instruction

logger = logging.getLogger("goalgraph")

SHOWN_ACTIONS = 30
"""Of those that a model is told it can offer; of more, first those that are about the message."""

COMMANDS = (
    "plan GOAL: plan this, in place of what is open",
    "yes, /no: answer what is asked",
    "drop: let go of what is open",
    "help: say what there is",
)
"""Those that every conversation has."""

LEAVING = (
    "You can leave at any time: this conversation is kept, and goes on where you left it. "
    "/drop lets go of what is open, and /plan GOAL begins something else."
)
POLITE = {
    "greeting": "Hello. What shall I do? /help says what I can.",
    "farewell": "Goodbye.",
    "thanks": "You are welcome.",
    "how": "All is well here. What shall I do?",
    "leave": LEAVING,
}
"""What is said to small talk without a model."""


async def answer_in_words(turn: Turn, small_talk: str = "") -> AgentTurnResult:
    """Answer a message that asks for nothing to be done; `small_talk` is its kind, where a rule knows it."""
    llm = turn.parts.service.llm
    if llm is None or turn.confidential or small_talk in ("help", "leave"):  # which no model knows better
        return turn.says(POLITE.get(small_talk) or what_i_do(turn))
    try:
        text = await _ask(turn, llm)
    except ModelError as error:
        if (written := completion_of(error)) is not None:
            turn.usage += written.usage
        return turn.says(_unanswered(str(error)))
    except Exception as error:  # a model of the caller's own may raise anything
        logger.warning("the model failed, so a message is not answered", exc_info=True)
        return turn.says(_unanswered(f"the model failed with {type(error).__name__}"))
    return turn.says(text or "I have no answer to that.")


def _unanswered(why: str) -> str:
    return f"I cannot answer that now: {cut(why, 300)}. What I can do, you can ask for; /help lists it."


def what_i_do(turn: Turn) -> str:
    """Say what can be asked for here."""
    commands = (f"- /{line}" for line in (*COMMANDS, *turn.parts.quick_actions.describe()))
    return "\n".join([abilities(turn.parts.allowed(turn.state)), "Commands:", *commands])


def summary(catalog: ActionCatalog, message: str) -> str:
    """List what everybody may have done; of much, what a message is about."""
    known = [spec for spec in catalog.iter_actions() if not spec.policy.roles]
    return abilities(relevant(catalog, known, message), SHOWN_ACTIONS) if known else ""


def relevant(catalog: ActionCatalog, specs: Sequence[ActionSpec], message: str) -> list[ActionSpec]:
    """Return as many of `specs` as a model is told: first those that a message is about."""
    if len(specs) <= SHOWN_ACTIONS:
        return list(specs)
    left = {spec.ref: spec for spec in specs}
    hits = [left.pop(hit.action.ref) for hit in catalog.search(message, 2 * SHOWN_ACTIONS) if hit.action.ref in left]
    return [*hits, *left.values()][:SHOWN_ACTIONS]


async def _ask(turn: Turn, llm: LanguageModel) -> str:
    parts, state = turn.parts, turn.state
    catalog = parts.service.catalog
    specs = relevant(catalog, parts.allowed(state), turn.message)
    earlier, spoken = await parts.memory.window(state)
    if not spoken or spoken[-1].role != "user":
        spoken = [*spoken, Message("user", turn.message)]
    head = [
        instruction(parts.service.skills, "chat-answers"),
        DATA_RULE,
        f"# What the user can ask to have done\n{catalog_text(specs) or 'Nothing.'}",
    ]
    notes = [("summary", [earlier] if earlier else []), ("results", parts.memory.artifacts(state, turn.message))]
    head += [f"# {name.capitalize()}\n{data(name, lines)}" for name, lines in notes if lines]
    completion = await llm.complete([Message("system", "\n\n".join(head)), *spoken])
    turn.usage += completion.usage
    return cut(cleaned(completion.text), LONGEST_ANSWER)
