"""Values in words: on one line, with texts in quotes, without secrets, and with what is left out counted."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pydantic_core
from pydantic import SecretBytes, SecretStr

from planner.catalog import JsonSchema, at_path
from planner.drafting.confidential import MASK, is_secret_name, redacted
from planner.drafting.form import asks_for_a_secret
from planner.drafting.language_model import encodable
from planner.drafting.signatures import name_text
from planner.execution.secrets import redact

SHOWN_CHARS = 200
"""Of one value."""
INSIDE = 100
"""Of a text that is part of a value."""
DEEPEST = 6

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_JOINERS = "\u200c\u200d"  # Persian and many emoji are not written without them


def cleaned(text: str) -> str:
    """Return `text` without control characters and halves of surrogate pairs, which no terminal or store takes."""
    return _UNPRINTABLE.sub("", encodable(text.replace("\r\n", "\n").replace("\r", "\n"))).strip()


def cut(text: str, most: int = SHOWN_CHARS) -> str:
    """Return `text`, or its beginning and how much more there is."""
    return text if len(text) <= most else f"{text[:most]}…{_more(len(text) - most)}"


def one_line(text: str, most: int = SHOWN_CHARS) -> str:
    """Return `text` on one line, cut as `cut` does; what cannot be seen in it is written as in JSON."""
    line, left = _line(text, most)
    return f"{_seen(line)}…{_more(left)}" if left else _seen(line)


def _line(text: str, most: int) -> tuple[str, int]:
    """Return the beginning of a text on one line, and how many characters are not in it."""
    near = text[: 4 * most + 1000]  # a secret in it is masked where it ends behind the cut
    line = " ".join(encodable(near).split())
    return line[:most], max(0, len(line) - most) + len(text) - len(near)


def _seen(line: str) -> str:
    return "".join(one if one.isprintable() or one in _JOINERS else json.dumps(one)[1:-1] for one in line)


def _more(left: int) -> str:
    return f" ({left:,} more character{'s' if left > 1 else ''})"


def shown_value(
    name: str,
    value: Any,
    schema: JsonSchema | None = None,
    *,
    secrets: Mapping[str, str] | None = None,
    most: int = SHOWN_CHARS,
) -> str:
    """Write a value for a person: the one way to do so, wherever it stands.

    Args:
        name: Of the value; that of a secret shows nothing of it.
        value: Anything; what has no form in JSON is named by its type.
        schema: Of the value; a `writeOnly` or `password` part is masked.
        secrets: Texts that are known to be secret, with their names.
        most: Characters, about.
    """
    return Shown(secrets=secrets or {}, most=most).write(name, value, schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How values are written."""

    most: int = SHOWN_CHARS
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    text: Callable[[str], str | None] = field(default=lambda _: None)
    """Writes a text that stands for something else; `None` for one that stands for itself."""

    def write(self, name: str, value: Any, schema: JsonSchema | None = None, depth: int = 0) -> str:
        """Write one value, or a part of one."""
        if is_secret_name(name) or _is_secret(value, schema):
            return MASK
        match value:
            case str():
                bound = self.text(value)
                return self.quoted(value, self.most if depth == 0 else INSIDE) if bound is None else bound
            case bytes() | bytearray():
                return f"{len(value):,} bytes"
            case None | bool() | int() | float():
                return cut(_number(value), self.most)
            case _ if depth >= DEEPEST:
                return "…"
            case Mapping():
                entries = cast("Mapping[Any, Any]", value).items()
                parts = (
                    f"{self._key(key)}: {self.write(str(key), part, _at(schema, key), depth + 1)}"
                    for key, part in entries
                )
                return f"{{{self._some(parts, len(entries))}}}"
            case list() | tuple() | set() | frozenset():
                items = list(cast("Iterable[Any]", value))
                parts = (self.write("", item, _at(schema, at), depth + 1) for at, item in enumerate(items))
                return f"[{self._some(parts, len(items))}]"
            case _:
                return self._odd(name, value, schema, depth)

    def quoted(self, text: str, most: int | None = None) -> str:
        """Write a text that stands for itself."""
        most = self.most if most is None else most
        near = 4 * most
        line, left = _line(redact(redacted(text[:near]), self.secrets) + text[near:], most)
        told = _seen(json.dumps(line, ensure_ascii=False))
        return f'{told[:-1]}…"{_more(left)}' if left else told

    def _key(self, key: Any) -> str:
        return name_text(one_line(str(key), INSIDE))

    def _some(self, parts: Iterable[str], count: int) -> str:
        """Join as many parts as there is room for, at least one."""
        told: list[str] = []
        room = self.most
        for part in parts:
            told.append(part)
            room -= len(part) + 2
            if room <= 0:
                break
        left = count - len(told)
        return ", ".join([*told, *([f"and {left:,} more"] if left else [])])

    def _odd(self, name: str, value: Any, schema: JsonSchema | None, depth: int) -> str:
        """Write a model, a date or whatever else; a live object by its type only."""
        try:
            plain = pydantic_core.to_jsonable_python(value)
        except (ValueError, TypeError, RecursionError):
            return f"a {type(value).__name__}"
        return self.write(name, plain, schema, depth + 1)


def _is_secret(value: Any, schema: JsonSchema | None) -> bool:
    if isinstance(value, SecretStr | SecretBytes):
        return True
    node: JsonSchema = (at_path(schema, ()) if schema else None) or {}
    if isinstance(value, Mapping | list | tuple):  # a part of which may be secret
        return node.get("writeOnly") is True or node.get("format") == "password"
    return asks_for_a_secret({word: part for word, part in node.items() if word != "$defs"})


def _at(schema: JsonSchema | None, part: Any) -> JsonSchema | None:
    return at_path(schema, (part,)) if schema and isinstance(part, str | int) else None


def _number(value: Any) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a very large number"
