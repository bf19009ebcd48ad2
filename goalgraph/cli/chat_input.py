"""What is typed in a chat: a message, or the values of a form, field by field; from a pipe, a line each."""

import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from rich.console import Console
from rich.text import Text

from goalgraph.cli.chat_view import YOU
from goalgraph.cli.forms import ask_for, is_secret, read_on
from planner.dialogue import PendingQuestion
from planner.dialogue.rules import command_of


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed."""

    message: str = ""
    values: Any = None
    """Of the form, when there was one."""


class Command(Exception):
    """A command stands where a value was expected."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


def reading(question: PendingQuestion | None, console: Console, commands: Collection[str]) -> Callable[[], Typed]:
    """Return what reads the next message, in the thread that may block; `question` is what is open.

    What it returns raises:
        EOFError: nothing more can be read.
    """
    if not sys.stdin.isatty():
        return lambda: Typed(_piped())
    if question is not None and has_fields(question):
        return lambda: _filled_in(question, console, commands)
    return lambda: Typed(_typed(console))


def has_fields(question: PendingQuestion) -> bool:
    """Tell whether a question has a form that is filled in, rather than answered in a word such as yes or retry."""
    form = question.form
    parts = form.get("properties", {})
    return question.kind in ("inputs", "run") and ((bool(parts) and "decision" not in parts) or is_secret(form))


def _filled_in(question: PendingQuestion, console: Console, commands: Collection[str]) -> Typed:
    read = read_on(console)
    console.print(Text("/say answers it in your own words, /drop lets go of it", style="dim"))

    def field(label: Text, *, hidden: bool = False) -> str:
        line = read(label, hidden=hidden)
        if command_of(line)[0] in commands:  # of what is hidden as well: no password begins with one
            raise Command(line)
        return line

    try:
        values = ask_for(question.form, "answer", field)
    except Command as command:
        return Typed(command.line)
    if isinstance(values, dict):  # what is left empty is asked for again
        values = {name: value for name, value in cast("dict[str, Any]", values).items() if value != ""}
    return Typed(values=values)


def _typed(console: Console) -> str:
    """Read a line that can be edited, where the terminal takes both what is typed and what is shown."""
    with suppress(ImportError):  # not every Python has it
        import_module("readline")  # with it input() edits lines, and remembers them
    if not sys.stdout.isatty():
        return console.input(Text(YOU, style="bold cyan"))
    plain = console.no_color or console.color_system is None
    return input(YOU if plain else f"\x01\x1b[1;36m\x02{YOU}\x01\x1b[0m\x02")  # \x01…\x02: takes no room


def _piped() -> str:
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return line.decode("utf-8", "replace").rstrip("\r\n")
