"""How a command ends: its exit code, and the error that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; they are part of the interface, and `--help` and the README list them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID_PLAN = 3
    MISSING_INPUT = 4
    NO_PLAN = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on; the message is one sentence that says what is wrong and what to do."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code
