"""What is wrong with a file of a skill, and where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LONGEST_QUOTE = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong; reading goes on."""

    message: str
    """A sentence; it says what to write instead where that is known."""
    path: Path | None = None
    line: int | None = None
    """From 1; `None` where it is about the whole file."""
    severity: Literal["warning", "error"] = "warning"
    """An error is against the standard, or keeps the skill from being used."""

    def __str__(self) -> str:
        place = "" if self.path is None else shown(self.path)
        place = place if self.line is None else f"{place}:{self.line}"
        return f"{place}: {self.message}" if place else self.message


def quoted(text: str) -> str:
    """Return foreign text for a message: on one line, without control characters, and of bounded length."""
    return repr(text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…")


def shown(path: Path) -> str:
    """Return a path for a message: as it is, unless it has control characters or is no text."""
    text = str(path)
    return text if text.isprintable() else repr(text)
