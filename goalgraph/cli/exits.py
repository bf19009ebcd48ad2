"""How a command ends: its exit code, what it writes to stdout, and the error that carries a code."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes; they are part of the interface, and `--help` and the README list them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID_PLAN = 3
    MISSING_INPUT = 4
    NO_PLAN = 5
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a command ended."""

    code: Exit = Exit.OK
    document: Any = None
    """What `--json` writes."""
    text: str | None = None
    """For stdout, from commands whose result is a text."""


class CommandError(Exception):
    """A command cannot go on; the message says what is wrong and what to do."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code
