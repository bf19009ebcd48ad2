"""The two ways out: words for people on stderr, results for programs on stdout."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.text import Text

PIPE_WIDTH = 160
"""Columns where there is no terminal to fit in."""


def people() -> Console:
    """Return the console for people. It is made when it is asked for, so that it writes to the stderr of now."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    return console


def complain(message: str) -> None:
    """Say what is wrong."""
    people().print(Text.assemble(("error: ", "bold red"), message))


def to_json(document: Any) -> str:
    """Write a document as JSON that every parser reads: no NaN, no lone surrogates; bytes become base64."""
    plain = to_jsonable_python(document, bytes_mode="base64", inf_nan_mode="null", fallback=repr)
    text = json.dumps(plain, indent=2, ensure_ascii=False)
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
    with redirect_stdout(sys.stderr):
        yield


def answer(text: str | None) -> None:
    """Write a result to stdout; a reader that has gone, as after `| head`, is no error."""
    if text is None:
        return
    try:
        print(text, flush=True)  # noqa: T201 - stdout is what it is for
    except BrokenPipeError:
        sys.stdout = None  # the interpreter would try to flush it again at its end
