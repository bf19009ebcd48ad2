"""Literals written in the wrong JSON type: what they are meant to be, where there is only one way to read them."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, cast

from planner.catalog import JsonSchema, Slot, at_path
from planner.plan.bindings import has_bindings
from planner.plan.mending.names import clear_match, words

UNCHANGED = object()
"""What `coerce` returns when it has no single answer."""

_INTEGER = re.compile(r"\s*[+-]?\d{1,15}\s*\Z")
_NUMBER = re.compile(r"\s*[+-]?(\d{1,15}(\.\d{1,15})?|\.\d{1,15})([eE][+-]?\d{1,2})?\s*\Z")


def coerce(value: Any, schema: JsonSchema) -> Any:
    """Return what the literal `value` has to be to fit `schema`, or `UNCHANGED` unless there is exactly one answer."""
    if has_bindings(value):
        return UNCHANGED
    target = Slot("literal", schema)
    try:
        if target.validator.is_valid(value):
            return UNCHANGED
        fitting = [other for other in _readings(value, schema) if target.validator.is_valid(other)]
    except (ValueError, TypeError):  # a value that is no JSON, or a schema that cannot be compiled
        return UNCHANGED
    distinct = [other for at, other in enumerate(fitting) if not any(_same(other, earlier) for earlier in fitting[:at])]
    return distinct[0] if len(distinct) == 1 else UNCHANGED


def _readings(value: Any, schema: JsonSchema) -> Iterator[Any]:
    """Yield what `value` could have been meant to be."""
    match value:
        case str():
            yield from _readings_of_text(value, schema)
        case bool():
            yield "true" if value else "false"
        case int() | float():
            yield repr(value)
            if isinstance(value, float) and value.is_integer():
                yield str(int(value))
        case _:
            pass


def _readings_of_text(text: str, schema: JsonSchema) -> Iterator[Any]:
    if _INTEGER.match(text):
        yield int(text)
    elif _NUMBER.match(text):
        yield float(text)
    if text.strip().lower() in ("true", "false"):
        yield text.strip().lower() == "true"
    if text.strip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            yield json.loads(text)
    shape = at_path(schema, ()) or {}
    listed: object = shape.get("enum")
    if isinstance(listed, list):
        choices = [choice for choice in cast("list[object]", listed) if isinstance(choice, str)]
        same = [choice for choice in choices if words(choice) == words(text)]
        meant = same[0] if len(same) == 1 else clear_match(text, choices)
        if meant is not None:
            yield meant
    if text != text.strip():
        yield text.strip()


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right
