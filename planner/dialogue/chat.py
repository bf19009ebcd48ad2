"""Answers in words: from the model, or a plain sentence about what can be done."""

from planner.dialogue.parts import Turn
from planner.dialogue.turn import AgentTurnResult
from planner.dialogue.wording import LONGEST_ANSWER, abilities, cleaned, cut
from planner.drafting import LanguageModel, Message
from planner.drafting.language_model import completion_of
from planner.drafting.prompts import DATA_RULE, data
from planner.drafting.signatures import catalog_text
from planner.errors import ModelError
from skills.shipped import instruction

SHOWN_ACTIONS = 30
"""Of those that a model is told it can offer; of more, those that are about the message."""

POLITE = {"thanks": "You are welcome.", "how": "All is well here. What shall I do?", "greeting": "Hello."}
"""What is said to small talk without a model."""


async def answer_in_words(turn: Turn, small_talk: str = "") -> AgentTurnResult:
    """Answer a message that asks for nothing to be done; `small_talk` is its kind, where a rule knows it."""
    llm = turn.parts.service.llm
    if llm is None or turn.confidential:  # rules take no such message for a chat, and nothing rests on that
        told = [POLITE.get(small_talk, ""), "" if small_talk in ("thanks", "how") else what_i_do(turn)]
        return turn.says("\n\n".join(filter(None, told)))
    try:
        text = await _ask(turn, llm)
    except ModelError as error:
        if (written := completion_of(error)) is not None:
            turn.usage += written.usage
        return turn.says(f"I cannot answer that now: {cut(str(error), 300)}. What I can do, you can ask for.")
    return turn.says(text or "I have no answer to that.")


def what_i_do(turn: Turn) -> str:
    """Say what can be asked for here."""
    quick = turn.parts.quick_actions.describe()
    commands = "\n".join(["Commands:", *(f"- /{line}" for line in quick)]) if quick else ""
    return "\n".join(part for part in (abilities(turn.parts.allowed(turn.state)), commands) if part)


async def _ask(turn: Turn, llm: LanguageModel) -> str:
    parts, state = turn.parts, turn.state
    catalog = parts.service.catalog
    specs = parts.allowed(state)
    if len(specs) > SHOWN_ACTIONS:
        allowed = {spec.ref for spec in specs}
        hits = catalog.search(turn.message, 2 * SHOWN_ACTIONS)
        specs = [hit.action for hit in hits if hit.action.ref in allowed][:SHOWN_ACTIONS]
    summary, spoken = await parts.memory.window(state)
    if not spoken or spoken[-1].role != "user":
        spoken = [*spoken, Message("user", turn.message)]
    head = [
        instruction(parts.service.skills, "chat-answers"),
        DATA_RULE,
        f"# What the user can ask to have done\n{catalog_text(specs) or 'Nothing.'}",
    ]
    notes = [("summary", [summary] if summary else []), ("results", parts.memory.artifacts(state, turn.message))]
    head += [f"# {name.capitalize()}\n{data(name, lines)}" for name, lines in notes if lines]
    completion = await llm.complete([Message("system", "\n\n".join(head)), *spoken])
    turn.usage += completion.usage
    return cut(cleaned(completion.text), LONGEST_ANSWER)
