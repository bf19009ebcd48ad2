"""The two ways out: words for people on stderr, results for programs on stdout."""

import fcntl
import json
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

from pydantic_core import to_jsonable_python
from rich.text import Text

from goalgraph.cli.exits import CommandError, Exit
from goalgraph.live.terminal import PeopleConsole, people
from goalgraph.live.words import UNSEEN, visible

__all__ = ["PeopleConsole", "answer", "complain", "lines_apart", "people", "stdout_kept_clean", "to_json", "visible"]
STDOUT, STDERR = 1, 2


def complain(message: str) -> None:
    """Say what is wrong."""
    people().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def to_json(document: Any, *, indent: int | None = 2) -> str:
    """Write a document as JSON that every parser reads: no NaN, no lone surrogates; bytes become base64."""
    plain = to_jsonable_python(document, bytes_mode="base64", inf_nan_mode="null", fallback=repr)
    text = UNSEEN.sub(_escaped, json.dumps(plain, indent=indent, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(plain, indent=indent)
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


@contextmanager
def lines_apart(wanted: bool) -> Generator[Callable[[Any], None]]:  # noqa: FBT001 - the one thing it is told
    """Keep stdout for documents that are written while a command goes on, and send all else there to stderr.

    Yields:
        What writes a document on a line of stdout; where none are `wanted`, it does nothing.
    """
    if not wanted:
        yield lambda _: None
        return
    with ExitStack() as exits:
        try:
            sys.stdout.flush()
            apart = fcntl.fcntl(sys.stdout.fileno(), fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
            real = exits.enter_context(os.fdopen(apart, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors))
        except (AttributeError, OSError, ValueError):  # there is none, as in a test, or it was closed
            real = sys.stdout

        def write(document: Any) -> None:
            try:
                print(to_json(document, indent=None), file=real, flush=True)
            except (BrokenPipeError, ValueError):
                raise CommandError("nobody reads what is written to stdout", Exit.FAILED) from None

        exits.enter_context(stdout_kept_clean(wanted=True))
        yield write
