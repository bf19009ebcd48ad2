"""How actions and types are written for a model: short, complete, and always the same for the same catalog."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, cast

from planner.catalog import MISSING, ActionSpec, JsonSchema, Slot
from planner.catalog.signature import resolve_local
from planner.drafting.confidential import is_secret_name

NAMES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "null"}
FORMATS = {
    "date": "date",
    "date-time": "datetime",
    "time": "time",
    "duration": "duration",
    "uuid": "uuid",
    "uri": "url",
}

MAX_DEPTH = 3
"""Deeper parts of a type are written as `object` or `list`."""

MAX_TEXT = 300
"""Characters of a description, and of a default."""

SHOWN_VALUES = 50
"""Of an enumeration."""

_NAME = re.compile(r"[\w.$-]+")
_JOINERS = "\u200c\u200d"  # Persian and Sinhala are not written without them
_DEFUSED = str.maketrans({"<": "\N{FULLWIDTH LESS-THAN SIGN}", "#": "\N{FULLWIDTH NUMBER SIGN}"})


def catalog_text(specs: Iterable[ActionSpec]) -> str:
    """Return one entry for each action, sorted by id, so that the same actions are always the same text."""
    return "\n".join(action_text(spec) for spec in sorted(specs, key=lambda spec: (spec.name, spec.ref)))


def action_text(spec: ActionSpec) -> str:
    """Write `name(a: str, b?: int = 3) -> {x: str}  # what it does`, and below it what is said about its inputs.

    Whoever wrote a tool wrote these texts too, so they stay on their line, behind a `#`, and open no heading or mark.
    """
    inputs = ", ".join(_slot_text(slot) for slot in spec.inputs)
    outputs = ", ".join(f"{name_text(slot.name)}: {slot_type(slot)}" for slot in spec.outputs)
    effect = "" if spec.policy.effect == "read" else f" [{spec.policy.effect}]"
    about = f"  # {one_line(spec.description)}" if spec.description else ""
    notes = [f"    # {name_text(slot.name)}: {one_line(slot.description)}" for slot in spec.inputs if slot.description]
    return "\n".join([f"{name_text(spec.name)}({inputs}) -> {{{outputs}}}{effect}{about}", *notes])


def slot_type(slot: Slot) -> str:
    """Write the type of a slot, with its meaning where it has one."""
    return f"{type_text(slot.schema)} <{one_line(slot.semantic)}>" if slot.semantic else type_text(slot.schema)


def name_text(name: str) -> str:
    """Write a name: as it is, or as JSON where it holds more than a name should."""
    return name if _NAME.fullmatch(name) else _json(name).replace("#", "\\u0023")


def type_text(schema: JsonSchema, depth: int = 0) -> str:
    """Write a schema as a type: `list[{name: str, size?: int}]`."""
    node = resolve_local(schema)
    definitions: Any = schema.get("$defs", {})
    for word in ("anyOf", "oneOf"):
        if isinstance(node.get(word), list):
            if depth > MAX_DEPTH:
                return "any"
            return _union(_inner(branch, definitions, depth) for branch in node[word])
    if isinstance(node.get("type"), list):
        return _union(type_text({**node, "type": kind, "$defs": definitions}, depth + 1) for kind in node["type"])
    values: Any = node.get("enum", [node["const"]] if "const" in node else None)
    if isinstance(values, list):
        shown = [_json(value) for value in cast("list[Any]", values)]
        return " | ".join([*shown[:SHOWN_VALUES], *(["…"] if len(shown) > SHOWN_VALUES else [])]) or "any"
    match node.get("type"):
        case "array":
            items = node.get("items")
            return (
                f"list[{_inner(items, definitions, depth)}]"
                if isinstance(items, dict) and depth < MAX_DEPTH
                else "list"
            )
        case "object":
            return _object(node, definitions, depth)
        case "string":
            return FORMATS.get(str(node.get("format")), "str")
        case str(kind):
            return NAMES.get(kind) or name_text(kind)
        case _:
            return "any"


def _object(node: JsonSchema, definitions: Any, depth: int) -> str:
    known: Any = node.get("properties")
    if not known or depth >= MAX_DEPTH:
        return "object"
    required: Any = node.get("required", ())
    parts = (
        f"{name_text(name)}{'' if name in required else '?'}: {_inner(inner, definitions, depth)}"
        for name, inner in cast("Mapping[str, Any]", known).items()
    )
    return f"{{{', '.join(parts)}}}"


def _inner(schema: Any, definitions: Any, depth: int) -> str:
    if not isinstance(schema, dict):
        return "any"
    node = cast("dict[str, Any]", schema)
    return type_text({**node, "$defs": definitions} if definitions else node, depth + 1)


def _union(types: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(types)) or "any"


def _slot_text(slot: Slot) -> str:
    name, kind, default = name_text(slot.name), slot_type(slot), slot.default
    if slot.required:
        return f"{name}: {kind}"
    if default is MISSING or not isinstance(default, str | int | float | bool | list | dict | None):
        return f"{name}?: {kind}"
    shown = "…" if default is not None and is_secret_name(slot.name) else _json(default)
    return f"{name}?: {kind} = {shown if len(shown) <= MAX_TEXT else '…'}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).replace("<", "\\u003c")


def one_line(text: str, most: int = MAX_TEXT) -> str:
    """Write what somebody else wrote on one line that opens no heading and no mark, cut after `most` characters.

    What people do not see is left out, such as what turns the direction of writing: a model shall read what they read.
    """
    line = " ".join(_seen(text[: 10 * most]).split()).translate(_DEFUSED)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _seen(text: str) -> str:
    if text.isascii():
        return text
    return "".join(one for one in text if unicodedata.category(one) != "Cf" or one in _JOINERS)
