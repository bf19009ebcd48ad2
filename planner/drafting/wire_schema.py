"""The JSON Schema that a model's answer follows: a form of the plan that providers can enforce token by token.

Strict mode wants every object closed and every property required, at most five levels of objects (planning.md
section 4.1), so inputs are spelt out for each action (*tight*) or listed as name and value (*flat*), references are
objects of their own, and what has no fixed shape travels as JSON text.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from planner.catalog import ActionSpec, JsonSchema, Slot
from planner.catalog.signature import resolve_local
from planner.drafting.language_model import Schema

TIGHT_ACTIONS = 25
"""Above this, a branch for each action costs more tokens than it is worth (planning.md section 4.2)."""

ENUM_VALUES = 20
"""A longer enumeration is described in the prompt only; providers count all values of a schema together."""

MAX_ALTERNATIVES = 4
"""How deep unions are followed; a recursive type has no end."""

MAX_PROPERTIES = 4_000
MAX_ENUM_VALUES = 900
MAX_NAME_CHARS = 100_000
"""Just below what providers take in one schema: 5,000 properties, 1,000 values and 120,000 characters of names."""

SCALARS: dict[str, dict[str, Any]] = {kind: {"type": kind} for kind in ("string", "integer", "number", "boolean")}
NULL: dict[str, Any] = {"type": "null"}
REF: dict[str, Any] = {"$ref": "#/$defs/ref"}
TEXT: dict[str, Any] = {"$ref": "#/$defs/text"}
JSON: dict[str, Any] = {"$ref": "#/$defs/json"}
OPERATORS = ["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "exists", "truthy"]


def plan_schema(specs: Sequence[ActionSpec], *, skills: bool = False) -> Schema:
    """Return the schema for plans over `specs`: tight up to 25 actions, else flat.

    With `skills`, an answer can name those that it wants to read before it plans.
    """
    if len(specs) <= TIGHT_ACTIONS:
        schema = tight_schema(specs, skills=skills)
        if _within_limits(schema):
            return Schema(name="plan", schema=schema)
    return Schema(name="plan", schema=flat_schema(specs, skills=skills))


def tight_schema(specs: Sequence[ActionSpec], *, skills: bool = False) -> dict[str, Any]:
    """One branch for each action, so that no other action and no other input can be written."""
    shared: dict[str, dict[str, Any]] = {}
    inputs = _share([{slot.name: _input(slot) for slot in spec.inputs} for spec in specs], shared)
    branches = [
        closed({
            "id": {"type": "string"},
            "action": {"type": "string", "enum": [spec.name]},
            "inputs": closed(given),
            "control": {"$ref": "#/$defs/control"},
        })
        for spec, given in zip(specs, inputs, strict=True)
    ]  # fmt: skip
    return _plan(either(branches), shared, skills=skills)


def flat_schema(specs: Sequence[ActionSpec], *, skills: bool = False) -> dict[str, Any]:
    """One shape for all actions; which inputs each takes is left to validation."""
    names = [spec.name for spec in specs]
    known = len(names) <= MAX_ENUM_VALUES and sum(map(len, names)) <= 15_000
    value = either([SCALARS["string"], SCALARS["number"], SCALARS["boolean"], REF, TEXT, JSON])
    step = closed({
        "id": {"type": "string"},
        "action": {"type": "string", "enum": names} if known and names else {"type": "string"},
        "inputs": {"type": "array", "items": closed({"name": {"type": "string"}, "value": value})},
        "control": {"$ref": "#/$defs/control"},
    })  # fmt: skip
    return _plan(step, {}, skills=skills)


def value_schema(slots: Mapping[str, Slot]) -> Schema:
    """Return the schema of an object that has a value or `null` for each slot, for reading a user's message."""
    properties = {name: either([*_literals(slot.schema, items=False), NULL]) for name, slot in slots.items()}
    return Schema(name="values", schema={**closed(properties), "$defs": {"json": _DEFINITIONS["json"]}})


def _share(inputs: list[dict[str, Any]], shared: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Define what several inputs have in common once, which halves the tokens of the schema."""
    texts = Counter(json.dumps(schema) for given in inputs for schema in given.values())
    names: dict[str, str] = {}
    for text, count in texts.items():
        if count > 1 and "anyOf" in text:
            names[text] = f"value{len(names) + 1}"
            shared[names[text]] = json.loads(text)

    def refer(schema: dict[str, Any]) -> dict[str, Any]:
        name = names.get(json.dumps(schema))
        return {"$ref": f"#/$defs/{name}"} if name else schema

    return [{name: refer(schema) for name, schema in given.items()} for given in inputs]


def _plan(step: dict[str, Any], shared: dict[str, dict[str, Any]], *, skills: bool) -> dict[str, Any]:
    asked = {"skills": either([{"type": "array", "items": SCALARS["string"]}, NULL])} if skills else {}
    root = closed({
        **asked,
        "assumptions": {"type": "array", "items": {"type": "string"}},
        "steps": {"type": "array", "items": step},
        "outputs": {"type": "array", "items": closed({"name": {"type": "string"}, "ref": {"type": "string"}})},
    })  # fmt: skip
    return {**root, "$defs": {**_DEFINITIONS, **shared}}


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return an object schema as strict mode wants it."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def either(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the union of `schemas`, each once."""
    distinct: list[dict[str, Any]] = []
    for schema in schemas:
        if schema not in distinct:
            distinct.append(schema)
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


_DEFINITIONS: dict[str, Any] = {
    "ref": closed({"ref": {"type": "string", "description": "user.key, step.output or item, and a path below"}}),
    "text": closed({"text": {"type": "array", "items": either([SCALARS["string"], REF])}}),
    "json": closed({"json": {"type": "string", "description": "any value, as JSON text"}}),
    "control": either([
        closed({
            "for_each": either([REF, JSON, NULL]),
            "when": either([
                closed({
                    "ref": {"type": "string"},
                    "op": {"type": "string", "enum": OPERATORS},
                    "value": either([*SCALARS.values(), REF, JSON, NULL]),
                }),
                NULL,
            ]),
            "after": {"type": "array", "items": closed({"step": SCALARS["string"], "required": SCALARS["boolean"]})},
            "optional": SCALARS["boolean"],
        }),
        NULL,
    ]),
}  # fmt: skip


def _input(slot: Slot) -> dict[str, Any]:
    return either([*_literals(slot.schema, items=True), REF, *([] if slot.required else [NULL])])


def _literals(schema: JsonSchema, *, items: bool, depth: int = 0) -> list[dict[str, Any]]:
    """Return the literals of `schema` that strict mode can say, with JSON text for all others."""
    node = resolve_local(schema)
    if branches := _alternatives(node):
        if depth > MAX_ALTERNATIVES:
            return [JSON]
        return [
            literal
            for branch in branches
            for literal in _literals(_with_definitions(branch, schema), items=items, depth=depth + 1)
        ]
    values = node.get("enum", [node["const"]] if "const" in node else None)
    if isinstance(values, list):
        texts = [value for value in cast("list[Any]", values) if isinstance(value, str)]
        if 0 < len(texts) == len(cast("list[Any]", values)) <= ENUM_VALUES:
            return [{"type": "string", "enum": list(dict.fromkeys(texts))}]
    match node.get("type"):
        case "string":
            return [SCALARS["string"], *([TEXT] if items else [])]
        case "integer" | "number" | "boolean" as kind:
            return [SCALARS[kind]]
        case "null":
            return [NULL]
        case "array":
            return [_array(node, schema), JSON] if items else [JSON]
        case "object":
            return [JSON]
        case _:
            return [SCALARS["string"], SCALARS["number"], SCALARS["boolean"], *([TEXT] if items else []), JSON]


def _alternatives(node: JsonSchema) -> list[Any]:
    for word in ("anyOf", "oneOf"):
        if isinstance(node.get(word), list):
            return cast("list[Any]", node[word])
    kinds = node.get("type")
    return [{**node, "type": kind} for kind in cast("list[str]", kinds)] if isinstance(kinds, list) else []


def _array(node: JsonSchema, root: JsonSchema) -> dict[str, Any]:
    """Return a list of scalars or references; of other items only references can be listed."""
    inner = node.get("items")
    literals = _literals(_with_definitions(inner, root), items=False) if isinstance(inner, dict) else []
    scalars = [literal for literal in literals if literal != JSON]
    return {"type": "array", "items": either([*scalars, REF])}


def _with_definitions(branch: Any, root: JsonSchema) -> dict[str, Any]:
    node = cast("dict[str, Any]", branch) if isinstance(branch, dict) else {}
    return {**node, "$defs": root["$defs"]} if "$defs" in root else node


def _within_limits(schema: dict[str, Any]) -> bool:
    properties = values = characters = 0
    pending: list[Any] = [schema]
    while pending:  # $defs are few and small
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(cast("list[Any]", node))
        elif isinstance(node, dict):
            given = cast("dict[str, Any]", node)
            names = cast("dict[str, Any]", given["properties"]) if given.get("type") == "object" else {}
            texts = cast("list[str]", given["enum"]) if isinstance(given.get("enum"), list) else []
            properties += len(names)
            values += len(texts)
            characters += sum(map(len, names)) + sum(map(len, texts))
            pending.extend(names.values())
            pending.extend(given[word] for word in ("items", "anyOf") if word in given)
    return properties <= MAX_PROPERTIES and values <= MAX_ENUM_VALUES and characters <= MAX_NAME_CHARS
