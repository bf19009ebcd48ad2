r"""The binding language: `${user.key}`, `${step.output.path[0]}`, `${item}`, alone or inside text.

`$${` is a literal `${`: where dollars stand before a `{`, two of them mean one, so `$$${price}` is a dollar and a
binding. A key that is no name is quoted: `${user["first name"]}`, with `\"` and `\\` inside.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from planner.errors import InvalidReference

RESERVED_ROOTS = frozenset({"user", "item"})
"""Names that a step cannot have: they stand for the caller's inputs and for the item of a `for_each`."""

STEP_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")

REMEMBERED = 256
"""Characters; what is read of a longer text is not remembered."""

_NAME = r"(?!__)[^\W\d][\w-]*"
_ROOT = re.compile(rf"\s*({_NAME})")
_PART = re.compile(
    rf"""\.({_NAME})|\.(\d{{1,9}})|\[\s*(\d{{1,9}})\s*\]|\["((?:[^"\\]|\\.)*)"\]|\['((?:[^'\\]|\\.)*)'\]""", re.DOTALL
)
_ESCAPED = re.compile(r"\\([\\\"'])")
_OPENING = re.compile(r"(?<!\$)(\$+)\{")
_TRAILING = re.compile(r"(?<!\$)\$+\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """One binding: where it starts, and the way from there."""

    root: str
    """`user`, `item`, or the id of a step."""
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"${{{self.root}{''.join(map(_step, self.path))}}}"


@dataclass(frozen=True, slots=True)
class Template:
    """Text with bindings in it; it always gives text."""

    parts: tuple[str | Reference, ...]


Location = tuple[str | int, ...]
"""Where in a step a value stands: `("inputs", "by", 0)`."""


def parse_text(text: str) -> str | Reference | Template:
    """Read one text of a plan: plain, a single binding, or text with bindings in it.

    Raises:
        InvalidReference: `${` does not begin a binding.
    """
    if "${" not in text:
        return text
    return _parse_short(text) if len(text) <= REMEMBERED else _parse(text)


@lru_cache(maxsize=8192)
def _parse_short(text: str) -> str | Reference | Template:
    """A plan's bindings are read when it is checked, when it is ordered, and whenever it runs."""
    return _parse(text)


def _parse(text: str) -> str | Reference | Template:
    parts: list[str | Reference] = []
    at = 0
    while (opening := _OPENING.search(text, at)) is not None:
        dollars = len(opening.group(1))
        parts.append(text[at : opening.start()] + "$" * (dollars // 2))
        if dollars % 2 == 0:
            parts.append("{")
            at = opening.end()
        else:
            reference, at = _parse_reference(text, opening.end())
            parts.append(reference)
    parts.append(text[at:])
    merged = _merge(parts)
    if len(merged) == 1:
        return merged[0]
    return Template(tuple(merged)) if merged else ""


def parse_reference(text: str) -> Reference:
    """Read a text that is one binding and nothing else.

    Raises:
        InvalidReference: it is anything else.
    """
    parsed = parse_text(text.strip())
    if not isinstance(parsed, Reference):
        raise InvalidReference(f"{_short(text)} is not a binding; write it like ${{step.output}}")
    return parsed


def escape(text: str) -> str:
    """Return `text` so that a plan means it literally."""
    return _OPENING.sub(lambda opening: f"{opening.group(1) * 2}{{", text)


def write_text(parts: Sequence[str | Reference]) -> str:
    """Write literal text and bindings as one text that `parse_text` reads back."""
    written = ""
    for at, part in enumerate(parts):
        if isinstance(part, Reference):
            written += str(part)
            continue
        before = at + 1 < len(parts) and isinstance(parts[at + 1], Reference)
        written += escape_before(part) if before else escape(part)
    return written


def escape_before(text: str) -> str:
    """Return `text` so that a plan means it literally, with a binding right behind it."""
    return _TRAILING.sub(lambda dollars: dollars.group() * 2, escape(text))


def texts(value: Any, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """Yield every text inside `value` with the place where it stands, without recursion."""
    pending: list[tuple[Location, Any]] = [(location, value)]
    while pending:
        where, current = pending.pop()
        if isinstance(current, str):
            yield where, current
        elif isinstance(current, Mapping):
            items = cast("Mapping[str, Any]", current)
            pending.extend(((*where, key), items[key]) for key in reversed(list(items)))
        elif isinstance(current, list | tuple):
            sequence = cast("Sequence[Any]", current)
            pending.extend(((*where, at), sequence[at]) for at in reversed(range(len(sequence))))


def references_in(value: Any, location: Location = ()) -> Iterator[tuple[Location, Reference]]:
    """Yield every well-formed binding inside `value` with the place where it stands."""
    for where, text in texts(value, location):
        if "${" not in text:
            continue
        try:
            parsed = parse_text(text)
        except InvalidReference:
            continue
        match parsed:
            case Reference():
                yield where, parsed
            case Template(parts=parts):
                yield from ((where, part) for part in parts if isinstance(part, Reference))
            case str():
                pass


def has_bindings(value: Any) -> bool:
    """Tell whether a text with `${` stands anywhere inside `value`."""
    return any("${" in text for _, text in texts(value))


def show(location: Location) -> str:
    """Write a location as people read it: `inputs.by[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _parse_reference(text: str, start: int) -> tuple[Reference, int]:
    root = _ROOT.match(text, start)
    if root is None:
        raise InvalidReference(
            f"{_short(text)}: after ${{ there must be a name, as in ${{step.output}}; write $${{ for a literal ${{"
        )
    at = root.end()
    path: list[str | int] = []
    while (part := _PART.match(text, at)) is not None:
        name, *indexes, double, single = part.groups()
        index = next((digits for digits in indexes if digits is not None), None)
        quoted = single if double is None else double
        path.append(int(index) if index is not None else name if name is not None else _ESCAPED.sub(r"\1", quoted))
        at = part.end()
    at = _skip_space(text, at)
    if not text.startswith("}", at):
        fault = "is not closed by }, or has a character that no name may have"
        if text.startswith(".__", at):
            fault = "goes on with two underscores; only keys and positions can be bound, never attributes"
        raise InvalidReference(
            f"{_short(text)}: the binding that starts with ${{{root.group(1)} {fault}; write $${{ for a literal ${{"
        )
    return Reference(root.group(1), tuple(path)), at + 1


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _merge(parts: Sequence[str | Reference]) -> list[str | Reference]:
    merged: list[str | Reference] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return merged


def _step(part: str | int) -> str:
    """Write one step of a path as it can be read again."""
    if isinstance(part, int):
        return f"[{part}]"
    if re.fullmatch(_NAME, part):
        return f".{part}"
    quoted = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{quoted}"]'


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
