"""One measured figure: ours, the goal, and the same figure of each peer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

Figure = float | str
"""A number, or in words why there is none: `not installed`, `over 60 s`, `MemoryError`."""

GOAL = re.compile(r"(?P<sign>[≤≥<>]|<=|>=)?\s*(?P<bound>\d+(?:\.\d+)?)\s*")


class Unmeasured(Exception):
    """There is no figure; the message says why in two or three words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table."""

    what: str
    value: Figure
    unit: str = ""
    goal: str = ""
    """`≤ 0.4`, `≥ 93`, a number that has to be met exactly, or empty."""
    peers: Mapping[str, Figure] = field(default_factory=dict[str, Figure])

    @classmethod
    def of(cls, row: "Row | Mapping[str, object]") -> "Row":
        """Read a row that may be a mapping with the keys `what`, `value`, `unit`, `goal` and `peer`."""
        if isinstance(row, Row):
            return row
        given = cast("dict[str, Any]", dict(row))
        peer = given.get("peer")
        peers: dict[str, Figure] = dict(given.get("peers") or {})
        if peer not in (None, ""):
            peers["peer"] = cast("Figure", peer)
        goal = "" if given.get("goal") is None else str(given["goal"])
        return cls(
            what=str(given["what"]), value=given["value"], unit=str(given.get("unit", "")), goal=goal, peers=peers
        )

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; `None` where there is no goal or none that can be compared."""
        found = GOAL.fullmatch(self.goal)
        if found is None:
            return None
        if isinstance(self.value, str):
            return False
        bound = float(found["bound"])
        match found["sign"]:
            case "≤" | "<=":
                return self.value <= bound
            case "≥" | ">=":
                return self.value >= bound
            case "<":
                return self.value < bound
            case ">":
                return self.value > bound
            case _:
                return self.value == bound

    def ratio(self, peer: str) -> float | None:
        """Return ours divided by the peer's, where both are numbers."""
        other = self.peers.get(peer)
        if isinstance(self.value, str) or other is None or isinstance(other, str) or not other:
            return None
        return self.value / other
