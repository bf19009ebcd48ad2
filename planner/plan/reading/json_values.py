"""Data that came from a text or a caller, made safe to work with: bounded, finite, and free of broken characters."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from planner.limits import Limits
from planner.plan.issues import IssueKind

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with data, and where."""

    path: Path
    kind: IssueKind
    message: str


class Repeats:
    """The keys that objects of one JSON text have twice, with different values."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[object, list[str]]] = {}

    def note(self, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Build an object as the JSON parser does, and note what it would lose."""
        built: dict[str, Any] = {}
        twice: list[str] = []
        for key, value in pairs:
            if key in built and built[key] != value:
                twice.append(key)
            built[key] = value
        if twice:
            self._found[id(built)] = (built, twice)  # holding the object keeps its id from being used again
        return built

    def of(self, value: object) -> list[str]:
        """Return the keys that `value` had twice."""
        return self._found.get(id(value), (None, []))[1]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A copy of data that holds nothing unusual, and what had to be replaced for it."""

    value: Any
    faults: tuple[Fault, ...]


def clean(value: Any, limits: Limits, repeats: Repeats | None = None) -> Cleaned:
    """Copy `value`, without recursion, up to the bounds of `limits`.

    Numbers that JSON does not have become `None`, broken characters U+FFFD; both are faults at their place, as are
    repeated keys. A bound that is met is the only fault there is then, and the value is `None`.
    """
    return _Cleaner(limits, repeats or Repeats()).clean(value)


def count_keys(value: Any) -> int:
    """Count the keys of all objects inside `value`."""
    count = 0
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            node = cast("Mapping[Any, Any]", current)
            count += len(node)
            pending.extend(node.values())
        elif isinstance(current, list | tuple):
            pending.extend(cast("Sequence[Any]", current))
    return count


class _Cleaner:
    """One walk over one value."""

    def __init__(self, limits: Limits, repeats: Repeats) -> None:
        self.limits = limits
        self.repeats = repeats
        self.faults: list[Fault] = []
        self.size = 0
        self.pending: list[tuple[Any, Any, Any, Path]] = []

    def clean(self, value: Any) -> Cleaned:
        root: list[Any] = [None]
        self.pending.append((value, root, 0, ()))
        while self.pending:
            current, parent, key, path = self.pending.pop()
            parent[key] = self._copy(current, path)
            if (over := self._over(current, path)) is not None:
                return Cleaned(None, (over,))
        return Cleaned(root[0], tuple(self.faults))

    def _over(self, value: Any, path: Path) -> Fault | None:
        if self.size > self.limits.plan_bytes:
            bound = f"the plan has more than {self.limits.plan_bytes} bytes (limit 'plan_bytes')"
            return Fault((), "over_budget", f"{bound}; give large values as user inputs")
        if len(path) >= self.limits.nesting and isinstance(value, Mapping | list | tuple):
            bound = f"lists and objects are nested more than {self.limits.nesting} deep (limit 'nesting')"
            return Fault(path[:4], "over_budget", f"{bound}; flatten them")
        return None

    def _copy(self, value: Any, path: Path) -> Any:
        self.size += len(value) if isinstance(value, str) else 1
        match value:
            case str():
                return self._text(value, path)
            case float() if not math.isfinite(value):
                message = "JSON has no such number; write a finite one, or null"
                self.faults.append(Fault(path, "invalid_literal", message))
                return None
            case Mapping():
                return self._mapping(cast("Mapping[Any, Any]", value), path)
            case list() | tuple():
                items = cast("Sequence[Any]", value)
                copy: list[Any] = [None] * len(items)
                if len(path) < self.limits.nesting:
                    self.pending.extend((items[at], copy, at, (*path, at)) for at in reversed(range(len(items))))
                return copy
            case _:
                return value

    def _mapping(self, value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        children: list[tuple[Any, Any, Any, Path]] = []
        for key, item in value.items():
            name = self._text(key if isinstance(key, str) else str(key), path)
            self.size += len(name)
            children.append((item, copy, name, (*path, name)))
        for key in self.repeats.of(value):
            message = f"the key {key!r} is given twice with different values; keep one"
            self.faults.append(Fault((*path, key), "undecodable", message))
        self.pending.extend(reversed(children))
        return copy

    def _text(self, text: str, path: Path) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            message = "the text has bytes that are no UTF-8, or half of a surrogate pair; write it again as UTF-8"
            self.faults.append(Fault(path, "invalid_literal", message))
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text
