"""What a run asks, as people read it: what it is about, what an answer has to be, and how to give it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from goalgraph.live.words import as_json, cut, seconds, short
from planner.execution.outcome import PendingInterrupt

LONGEST_SCHEMA = 300


def question_details(question: PendingInterrupt, how: str, now: datetime) -> RenderableType:
    """Show a question.

    Args:
        question: What is asked.
        how: What to type to answer it.
        now: In UTC.
    """
    head = Text.assemble(("? ", "yellow"), (question.step_id, "bold"), " asks: ", cut(asked(question), 300))
    facts = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _facts(question, now).items():
        facts.add_row(Text(name, style="dim"), Text(value))
    facts.add_row(Text("answer", style="dim"), Text(how, style="cyan"))
    return Group(head, Padding(facts, (0, 0, 0, 2), expand=False))


def asked(question: PendingInterrupt) -> str:
    """Return the question in words; what a flow asks itself may be any value."""
    return question.message or short(question.value, 300)


def _facts(question: PendingInterrupt, now: datetime) -> dict[str, str]:
    about = cast("Mapping[str, Any]", {} if question.kind == "interrupt" else question.value)
    cost: Mapping[str, Any] = about.get("cost") or {}
    deadline = question.deadline
    facts = {
        "action": f"{about['ref']} ({about.get('effect')})" if about.get("ref") else "",
        "inputs": short(about["inputs"], 300) if about.get("inputs") else "",
        "cost": f"{cost['amount']:g}" if cost.get("amount") else "",
        "undo": str(about.get("undo") or ""),
        "wants": "" if question.schema is None else wanted(question),
        "from": f"somebody with the role {' or '.join(question.roles)}" if question.roles else "",
        "until": "" if deadline is None else f"{deadline.astimezone():%Y-%m-%d %H:%M:%S} ({_left(deadline, now)})",
        "then": "" if deadline is None else _afterwards(question),
    }
    return {name: text for name, text in facts.items() if text}


def wanted(question: PendingInterrupt) -> str:
    """Say what an answer has to be."""
    schema = question.schema or {}
    match question.kind:
        case "approval":
            return "yes or no"
        case "unknown":
            return "what became of it: retry, succeeded or failed"
        case _ if schema.get("enum"):
            return f"one of {', '.join(as_json(one) for one in schema['enum'])}"
        case _ if set(schema) <= {"type", "title"} and isinstance(schema.get("type"), str):
            return f"a value of the type {schema['type']}"
        case _:
            return cut(as_json(schema), LONGEST_SCHEMA)


def _left(deadline: datetime, now: datetime) -> str:
    left = (deadline - now).total_seconds()
    return f"in {seconds(left)}" if left > 0 else "now"


def _afterwards(question: PendingInterrupt) -> str:
    """Say what happens when nobody answers."""
    if question.on_timeout is None:
        return "the step fails"
    answer: Any = question.on_timeout.get("answer")
    if question.kind == "approval":
        agreed = isinstance(answer, Mapping) and cast("Mapping[str, Any]", answer).get("approve") is True
        return "it counts as agreed" if agreed else "it counts as refused"
    return f"{short(answer)} counts"
