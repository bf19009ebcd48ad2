"""What somebody answers a run: which question, and the answer from the command line, a file, or asked for here."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from goalgraph.cli.exits import CommandError, Exit
from goalgraph.cli.forms import ask_for, read_on
from goalgraph.cli.request import read_value
from goalgraph.live.questions import asked, wanted
from planner.dialogue.phrases import yes_or_no
from planner.errors import InvalidAnswer
from planner.execution import PendingInterrupt
from planner.execution.people import check_answer

DECISIONS = ("retry", "succeeded", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was given on the command line."""

    said: tuple[str, ...] = ()
    """A question and a value, or one of them."""
    yes: bool | None = None
    reason: str = ""
    value_file: Path | None = None

    def __post_init__(self) -> None:
        if len(self.said) > 2:
            raise CommandError("give a question and a value; a value of several words is put in quotes")
        ways = (self.yes is not None) + (self.value_file is not None) + (len(self.said) == 2)
        if ways > 1:
            raise CommandError("give one answer: a value, --value-file, or --yes or --no")
        if self.reason and self.yes is None:
            raise CommandError("--reason goes with --yes or --no")


def choose(questions: Sequence[PendingInterrupt], given: Given) -> tuple[PendingInterrupt, str | None]:
    """Return the question that is answered, and the text of the answer if there is one.

    Raises:
        CommandError: the run asks several, and none of them is named; or it asks nothing of that name.
    """
    text = given.said[-1] if given.said else None
    name = given.said[0] if given.said else None
    elsewhere = given.yes is not None or given.value_file is not None
    if len(given.said) == 1:
        names = elsewhere or any(_is_named(one, name or "") for one in questions)
        name, text = (name, None) if names else (None, text)
    found = [one for one in questions if name is None or _is_named(one, name)]
    exact = [one for one in found if one.id == name]
    if len(exact or found) == 1:
        return (exact or found)[0], text
    what = "it asks several things" if name is None else f"{name!r} is not one of its questions"
    names = "; ".join(f"{one.step_id} ({one.id}): {asked(one)}" for one in questions)
    raise CommandError(f"{what}; name one by its step or its id, before the answer: {names}")


def read_answer(question: PendingInterrupt, text: str | None, given: Given, console: Console) -> Any:
    """Return the answer, as the run takes it; where none is given, ask whoever sits at the terminal.

    Raises:
        InvalidAnswer: it does not fit.
        CommandError: there is none, and nobody to ask.
    """
    if question.kind == "unknown" and (given.yes is not None or text is not None):
        raise CommandError(f"what became of {question.step_id} is decided with: goalgraph runs decide")
    if given.yes is not None:
        approval = question.kind == "approval"
        return check_answer(question, {"approve": given.yes, "reason": given.reason} if approval else given.yes)
    if given.value_file is not None:
        text = _read(given.value_file)
    if text is not None:
        return fitting(question, text)
    if not sys.stdin.isatty():
        raise CommandError(f"no answer is given; {question.step_id} wants {wanted(question) or 'any value'}")
    return ask(question, console)


def fitting(question: PendingInterrupt, text: str) -> Any:
    """Read an answer: as JSON if it is and that fits, else as the text itself.

    Raises:
        InvalidAnswer: neither fits.
    """
    if question.kind == "approval" and (agreed := yes_or_no(text)) is not None:
        return check_answer(question, agreed)
    try:
        return check_answer(question, read_value(text))
    except InvalidAnswer as error:
        try:
            return check_answer(question, text)
        except InvalidAnswer:
            raise error from None


def ask(question: PendingInterrupt, console: Console) -> Any:
    """Ask for an answer until it fits.

    Raises:
        CommandError: nothing more can be read.
    """
    while True:
        try:
            return check_answer(question, _asked(question, console))
        except InvalidAnswer as error:
            console.print(Text(str(error), style="red"))
        except EOFError:
            raise CommandError("no answer was given", Exit.USAGE) from None


def _asked(question: PendingInterrupt, console: Console) -> Any:
    schema: Mapping[str, Any] = question.schema or {}
    match question.kind:
        case "approval":
            agreed = _one(console, {"type": "boolean"}, "agree?")
            return {"approve": agreed, "reason": _line(console, "why not? (may be empty)") if agreed is False else ""}
        case "unknown":
            decision = _one(console, {"enum": list(DECISIONS)}, "what became of it?")
            said: dict[str, Any] = {"decision": decision}
            if decision == "succeeded":
                said["value"] = read_value(_line(console, "what did it return? (JSON)") or "null")
            if decision == "failed" and (error := _line(console, "why? (may be empty)")):
                said["error"] = error
            return said
        case _:
            return _one(console, schema, "answer")


def _one(console: Console, schema: Mapping[str, Any], label: str) -> Any:
    return ask_for(schema, label, read_on(console))


def _line(console: Console, label: str) -> str:
    return read_on(console)(Text.assemble((label, "bold"), ": "))


def _is_named(question: PendingInterrupt, name: str) -> bool:
    return question.step_id == name or (name != "" and question.id.startswith(name))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--value-file {path} cannot be read: {error}") from None
