"""The two ways out: words for people on stderr, results for programs on stdout."""

import fcntl
import json
import os
import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, redirect_stdout
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

STDOUT, STDERR = 1, 2
PIPE_WIDTH = 160
"""Columns where there is no terminal to fit in."""


UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What moves the cursor, changes the terminal or turns the direction of a line, and no text of ours contains."""


class PeopleConsole(Console):
    """A console on which no text, whoever wrote it, can do more than be read."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render with the control characters of texts made visible; what rich writes to move the cursor stays."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def visible(text: str) -> str:
    """Put a sign in the place of each character that would act on the terminal instead of being shown."""
    return UNSEEN.sub("\ufffd", text)


def people() -> Console:
    """Return the console for people. It is made when it is asked for, so that it writes to the stderr of now."""
    console = PeopleConsole(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    return console


def complain(message: str) -> None:
    """Say what is wrong."""
    people().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def to_json(document: Any) -> str:
    """Write a document as JSON that every parser reads: no NaN, no lone surrogates; bytes become base64."""
    plain = to_jsonable_python(document, bytes_mode="base64", inf_nan_mode="null", fallback=repr)
    text = UNSEEN.sub(_escaped, json.dumps(plain, indent=2, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(plain, indent=2)
    return text


@contextmanager
def stdout_kept_clean(wanted: bool) -> Generator[None]:  # noqa: FBT001 - the one thing it is told
    """Send what a catalog or an action prints to stderr, where stdout is for the result."""
    if not wanted:
        yield
        return
    with _descriptor_kept_clean(), redirect_stdout(sys.stderr):
        yield


@contextmanager
def _descriptor_kept_clean() -> Generator[None]:
    """Do the same for the child processes of actions, which know nothing of `sys.stdout`."""
    try:
        sys.stdout.flush()
        real = sys.stdout.fileno() == STDOUT
        kept = fcntl.fcntl(STDOUT, fcntl.F_DUPFD_CLOEXEC, STDERR + 1) if real else None
    except (AttributeError, OSError, ValueError):  # there is none, as in a test, or it was closed
        kept = None
    if kept is None:
        yield
        return
    try:
        _point_stdout_at_stderr()
        yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


def _point_stdout_at_stderr() -> None:
    try:
        os.dup2(STDERR, STDOUT)
    except OSError:  # stderr was closed
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, STDOUT)
        if nothing != STDOUT:
            os.close(nothing)


def answer(text: str | None) -> None:
    """Write a result to stdout; a reader that has gone, as after `| head`, is no error."""
    if text is None:
        return
    try:
        print(text, flush=True)  # noqa: T201 - stdout is what it is for
    except BrokenPipeError:
        sys.stdout = None  # the interpreter would try to flush it again at its end
