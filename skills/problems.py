"""What is wrong with a file of a skill, and where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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
        place = ":".join(str(part) for part in (self.path, self.line) if part is not None)
        return f"{place}: {self.message}" if place else self.message
