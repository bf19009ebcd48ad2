"""What a chat shows of a turn, on the terminal and as JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from goalgraph.cli.running import result_document
from goalgraph.cli.show import outputs_table
from goalgraph.live.words import as_json, cut
from planner.catalog import ActionCatalog
from planner.dialogue import AgentTurnResult, PendingQuestion
from planner.dialogue.review import plan_text
from planner.dialogue.values import SHOWN_CHARS

YOU, ANSWER = "> ", "· "
"""What stands before what is typed, and before what is answered."""
OPEN_CHARS = 200
SAID_CHARS = 300


def turn_document(turn: AgentTurnResult) -> dict[str, Any]:
    """Return a turn as JSON."""
    return {
        "ok": True,
        "mode": turn.mode,
        "message": turn.message_to_user,
        "plan": None if turn.plan is None else turn.plan.to_dict(),
        "question": None if turn.question is None else question_document(turn.question),
        "changes": list(turn.changes),
        "execution": None if turn.execution is None else result_document(turn.execution),
        "usage": turn.usage,
    }


def question_document(question: PendingQuestion) -> dict[str, Any]:
    """Return what is asked as JSON."""
    return {
        "id": question.id,
        "kind": question.kind,
        "text": question.text,
        "form": question.form,
        "run_id": question.run_id,
        "draft": question.draft,
    }


def show_turn(turn: AgentTurnResult, console: Console, catalog: ActionCatalog) -> None:
    """Show what came of a turn: the plan that lacks something, the answer, and what is still asked."""
    said, question = turn.message_to_user or "", turn.question
    if question is not None and asks(turn):
        show_question(question, console, catalog, said)
        return
    show_answer(said, console)
    if turn.execution is not None and any(_is_long(value) for value in turn.execution.outputs.values()):
        console.print(outputs_table(turn.execution.outputs))
    if question is not None:
        console.print(Text(f"  still open: {cut(question.text, OPEN_CHARS)}", style="dim"), soft_wrap=True)


def asks(turn: AgentTurnResult) -> bool:
    """Tell whether a turn puts the question that is open, which may have been put before."""
    return turn.question is not None and turn.question.text in (turn.message_to_user or "")


def show_question(asked: PendingQuestion, console: Console, catalog: ActionCatalog, text: str | None = None) -> None:
    """Show what is asked, under the plan that needs it; a plan that is asked about is told in the question itself.

    Args:
        asked: The question.
        console: Where to.
        catalog: The actions of its plan.
        text: How it was put this time.
    """
    if asked.plan is not None and asked.kind == "inputs":
        told = plan_text(asked.plan, catalog, asked.inputs).replace("\n", "\n  ")
        console.print(Text(f"  {told}", style="dim"), soft_wrap=True)
    show_answer(text or asked.text, console)


def show_answer(text: str, console: Console) -> None:
    """Show what is answered."""
    console.print(Text.assemble((ANSWER, "cyan"), text.replace("\n", "\n  ")), soft_wrap=True)


def show_history(messages: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Show what was said before."""
    for message in messages:
        mark = YOU if message["role"] == "user" else ANSWER
        console.print(Text(f"{mark}{cut(str(message['content']), SAID_CHARS)}", style="dim"), soft_wrap=True)


def _is_long(value: Any) -> bool:
    """Tell whether an answer in words says only the beginning of a value."""
    return len(value if isinstance(value, str) else as_json(value)) > SHOWN_CHARS
