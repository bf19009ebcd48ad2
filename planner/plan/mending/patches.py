"""Changes to a plan that can be shown and undone."""

from dataclasses import dataclass
from typing import Any

ABSENT = "__absent__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One change at one place of a plan's JSON form; `before` or `after` is `ABSENT` for what was added or removed."""

    path: tuple[str | int, ...]
    """Keys and positions in `plan.to_dict()`; empty for a change of the text that the plan was read from."""
    before: Any
    after: Any
    reason: str
    """The fault that it mends, in words."""
