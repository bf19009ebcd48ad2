"""What a user is asked for the values that a plan lacks: a typed form, and one question in words."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

from planner.catalog import ActionCatalog, ActionSpec, Fit, JsonSchema, Slot, at_path, fits
from planner.catalog.words import split_name
from planner.drafting.confidential import is_secret_name
from planner.drafting.observed import schema_of
from planner.drafting.signatures import MAX_DEPTH, name_text
from planner.errors import InvalidReference, PlannerError
from planner.plan import CandidatePlan, PlanStep, Reference, Template, parse_text, resolve_step
from planner.plan.bindings import Location, has_bindings, show, texts

SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean"]}
"""What can be put into a text."""

SHOWN_CHARS = 120
"""Of what is said about a key."""

SHOWN_VALUES = 8
"""Of an enumeration."""

IN_A_SENTENCE = 3
"""Keys; more are asked for in a list."""

KINDS = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "array": "list",
    "object": "JSON object", "null": "nothing",
}  # fmt: skip
COUNTED = ("whole", "number", "list", "JSON", "date", "time", "e-mail", "web", "UUID", "duration", "secret")
"""First words of kinds that are said with an article."""

FORMATS = {
    "date": "date, like 2026-11-20", "date-time": "date and time, like 2026-11-20T18:30",
    "time": "time, like 18:30", "email": "e-mail address", "uri": "web address", "uuid": "UUID",
    "duration": "duration, like PT1H30M",
}  # fmt: skip

_REFERENCES = "#/$defs/"


def bound_slots(plan: CandidatePlan, catalog: ActionCatalog) -> Iterator[tuple[str, Slot]]:
    """Yield each user key that `plan` binds with what its value has to be there, in the order of the steps.

    A key that is bound with a path, inside a text or as the list of a `for_each` has to be what that place makes of
    it. Steps with an unknown action say nothing.
    """
    for step in plan.steps:
        try:
            spec = resolve_step(step, catalog)
        except (PlannerError, ValueError):
            continue
        places = list(_places(step, spec))
        for reference, slot in places:
            if reference.root == "user" and reference.path:
                key, *path = reference.path
                yield str(key), _around(slot, path) if path else slot
        if (key := _user_list(step.for_each)) is not None:
            items = [_around(slot, one.path) for one, slot in places if one.root == "item"]
            about = next((f"for each: {slot.description}" for slot in items if slot.description), None)
            yield key, Slot(key, _list_of([slot.schema for slot in items]), about)


def input_form(plan: CandidatePlan, keys: Sequence[str], catalog: ActionCatalog) -> dict[str, Any]:
    """Return the JSON Schema of an object with a value for each of `keys`, all required, in their order.

    What each has to be, and what is said about it, comes from the places where `plan` binds it; where there are
    several, the value has to fit all. A secret is `writeOnly`, with the format `password`.
    """
    slots: dict[str, list[Slot]] = {key: [] for key in keys}
    for key, slot in bound_slots(plan, catalog):
        if key in slots:
            slots[key].append(slot)
    definitions: dict[str, Any] = {}
    properties = {key: _property(key, given, definitions) for key, given in slots.items()}
    form: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
    return {**form, "$defs": definitions} if definitions else form


def question_text(form: Mapping[str, Any]) -> str:
    """Ask for everything in `form`, with its type and what it means: a sentence, or a list where there is much."""
    properties = cast("Mapping[str, JsonSchema]", form.get("properties", {}))
    definitions: Any = form.get("$defs", {})
    asked = [_asked(key, {**node, "$defs": definitions}) for key, node in properties.items()]
    sentence = f"To go on I need: {', '.join(asked)}."
    if len(asked) <= IN_A_SENTENCE and len(sentence) <= 2 * SHOWN_CHARS:
        return sentence
    return "To go on I need:\n" + "\n".join(f"- {line}" for line in asked)


def kind_text(schema: JsonSchema) -> str:
    """Say what a value has to be, as in "that is not …": `a whole number`, `text`, `one of left, right`."""
    node = at_path(schema, ()) or {}
    kind = _kind({word: part for word, part in node.items() if word != "writeOnly"}) or "what is asked for"
    first = kind.partition(" ")[0].rstrip(",")
    if first not in COUNTED:
        return kind
    return f"an {kind}" if first[0] in "aeo" else f"a {kind}"


def unfillable(form: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys for which no value fits everywhere, each with what it would have to be at once."""
    definitions: Any = form.get("$defs", {})
    properties = cast("Mapping[str, JsonSchema]", form.get("properties", {}))
    nodes = {key: {**node, "$defs": definitions} for key, node in properties.items()}
    return {key: _kind(node) for key, node in nodes.items() if _types(node) == set()}


def asks_for_a_secret(form: Any) -> bool:
    """Tell whether a form, or a part of one, has a field for a secret."""
    match form:
        case {"writeOnly": True} | {"format": "password"}:
            return True
        case Mapping():
            return any(map(asks_for_a_secret, cast("Mapping[str, Any]", form).values()))
        case list():
            return any(map(asks_for_a_secret, cast("list[Any]", form)))
        case _:
            return False


def _places(step: PlanStep, spec: ActionSpec) -> Iterator[tuple[Reference, Slot]]:
    """Yield every binding of a step with what it has to be where it stands."""
    for location, text in texts(step.inputs):
        if (slot := spec.input(str(location[0]))) is not None:
            yield from _in_text(text, _part(slot, location[1:]), spec)
    if step.when is not None:
        compared = step.when.op in ("eq", "ne", "lt", "le", "gt", "ge") and not has_bindings(step.when.value)
        about = f"decides whether {spec.name} is done"
        yield from _in_text(step.when.ref, Slot("when", schema_of(step.when.value) if compared else {}, about), spec)


def _in_text(text: str, slot: Slot, spec: ActionSpec) -> Iterator[tuple[Reference, Slot]]:
    try:
        parsed = parse_text(text)
    except InvalidReference:
        return
    match parsed:
        case Reference():
            yield parsed, slot
        case Template(parts=parts):
            inside = Slot(slot.name, SCALAR, f"part of the {_words(slot.name)} of {spec.name}")
            yield from ((part, inside) for part in parts if isinstance(part, Reference))
        case _:
            pass


def _part(slot: Slot, location: Location) -> Slot:
    if not location:
        return slot
    return Slot(str(location[-1]), at_path(slot.schema, location) or {}, slot.description)


def _around(slot: Slot, path: Sequence[str | int]) -> Slot:
    """Return the slot of what has a value for `slot` at `path`."""
    if not path:
        return slot
    about = f"its {show(tuple(path))}: {slot.description}" if slot.description else None
    return Slot(slot.name, _nested(slot.schema, path), about)


def _nested(schema: JsonSchema, path: Sequence[str | int]) -> JsonSchema:
    """Return the schema of what has a value of `schema` at `path`."""
    definitions: Any = schema.get("$defs")
    inner: dict[str, Any] = {word: value for word, value in schema.items() if word != "$defs"}
    for part in reversed(path):
        if isinstance(part, str):
            inner = {"type": "object", "properties": {part: inner}, "required": [part]}
        else:
            first = {"prefixItems": [inner]} if part == 0 else {}
            inner = {"type": "array", **first, "minItems": part + 1}
    return {**inner, "$defs": definitions} if definitions else inner


def _list_of(items: Sequence[JsonSchema]) -> JsonSchema:
    """Return the schema of a list for a step that needs each item to be all of `items`."""
    narrow = _narrowest(items)
    if len(narrow) != 1:
        return {"type": "array"}
    (schema,) = narrow
    inner = {word: value for word, value in schema.items() if word != "$defs"}
    return {"type": "array", "items": inner, **({"$defs": schema["$defs"]} if "$defs" in schema else {})}


def _narrowest(schemas: Sequence[JsonSchema]) -> list[JsonSchema]:
    """Return what has to hold for all of `schemas` to hold, without those that follow from another."""
    kept: list[JsonSchema] = []
    for schema in schemas:
        if schema and not any(fits(other, schema) is Fit.YES for other in kept):
            kept = [*(other for other in kept if fits(schema, other) is not Fit.YES), schema]
    return kept


def _property(key: str, slots: Sequence[Slot], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return what the form says of one key; what its schemas define goes to `definitions`."""
    usable = [slot.schema for slot in slots if _stands_alone(slot)]
    parts = [_hoisted(schema, definitions) for schema in _narrowest(usable)]
    node: dict[str, Any] = dict(parts[0]) if len(parts) == 1 else {"allOf": parts} if parts else {}
    node.setdefault("title", _words(key).capitalize())
    about = dict.fromkeys(text for slot in slots if (text := _about(slot)))
    if about:
        node["description"] = "; ".join(about)
    if is_secret_name(key) or any(_is_secret(slot) for slot in slots):
        node = {word: value for word, value in node.items() if word not in ("default", "examples", "const", "enum")}
        node |= {"writeOnly": True, "format": "password"}
    return node


def _is_secret(slot: Slot) -> bool:
    return is_secret_name(slot.name) or asks_for_a_secret(slot.schema)


def _about(slot: Slot) -> str:
    return " ".join((slot.description or _words(slot.semantic or "")).split())


def _stands_alone(slot: Slot) -> bool:
    """Tell whether a slot's schema means the same inside another; one that refers to its own root does not."""
    return all(target.startswith(_REFERENCES) for target in _targets(slot.schema))


def _targets(node: Any) -> Iterator[str]:
    """Yield what is referred to anywhere in a schema."""
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            items = cast("Mapping[str, Any]", current)
            yield from (items[word] for word in ("$ref", "$dynamicRef") if isinstance(items.get(word), str))
            pending.extend(items.values())
        elif isinstance(current, list):
            pending.extend(cast("list[Any]", current))


def _hoisted(schema: JsonSchema, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with its definitions in `definitions`, under other names where others have theirs."""
    own = cast("Mapping[str, Any]", schema.get("$defs") or {})
    body = {word: value for word, value in schema.items() if word not in ("$defs", "$schema", "$id")}
    if next(_targets(body), None) is None:
        return body
    names = {name: name for name in own}
    number = 1
    while any(definitions.get(new, own[old]) != own[old] for old, new in names.items()):
        number += 1
        names = {name: f"{name}_{number}" for name in own}
    moved = dict(own) if number == 1 else {old: _referring(node, names) for old, node in own.items()}
    definitions |= {names[old]: node for old, node in moved.items()}
    return body if number == 1 else _referring(body, names)


def _referring(node: Any, names: Mapping[str, str]) -> Any:
    """Return a schema with its references changed to the new names of what they refer to."""
    match node:
        case Mapping():
            items = cast("Mapping[str, Any]", node).items()
            return {
                word: _renamed(value, names) if word == "$ref" and isinstance(value, str) else _referring(value, names)
                for word, value in items
            }
        case list():
            return [_referring(item, names) for item in cast("list[Any]", node)]
        case _:
            return node


def _renamed(target: str, names: Mapping[str, str]) -> str:
    """Return a reference under the new name, which a JSON Pointer writes with `~1` for a slash (RFC 6901)."""
    name, slash, rest = target.removeprefix(_REFERENCES).partition("/")
    old = unquote(name).replace("~1", "/").replace("~0", "~")
    new = names.get(old, old).replace("~", "~0").replace("/", "~1")
    return f"{_REFERENCES}{new}{slash}{rest}"


def _asked(key: str, node: JsonSchema) -> str:
    """Write one key with its type and meaning, on one line."""
    about = node.get("description")
    text = about.strip() if isinstance(about, str) else ""
    kind = _kind(node)
    told = [kind] if kind and (kind != "text" or not text) else []
    shown = " ".join("; ".join([*told, *([text.rstrip(".")] if text else [])]).split())
    shown = shown if len(shown) <= SHOWN_CHARS else f"{shown[: SHOWN_CHARS - 1]}…"
    return f"{name_text(key)} ({shown})" if shown else name_text(key)


def _kind(schema: JsonSchema, depth: int = 0) -> str:
    """Name a type for people, as far as it is not too deep; a type may be made of itself."""
    node = at_path(schema, ()) or {}
    if node.get("writeOnly") is True:
        return "secret"
    several: list[Any]
    match node:
        case {"const": value}:
            return json.dumps(value, ensure_ascii=False)
        case {"enum": [*several]}:
            shown = [value if isinstance(value, str) else json.dumps(value) for value in several[:SHOWN_VALUES]]
            return f"one of {', '.join([*shown, *(['…'] if len(several) > SHOWN_VALUES else [])])}"
        case {"format": str(form)} if form in FORMATS:
            return FORMATS[form]
        case {"type": "array", "items": {**item}}:
            inner = _inner_kind(item, schema, depth)
            return f"list, each a {inner}" if inner else "list"
        case {"type": "object", "properties": {**fields}} if fields:
            names = [name_text(name) for name in list(cast("JsonSchema", fields))[:SHOWN_VALUES]]
            return f"JSON object with {', '.join(names)}"
        case {"type": str(kind)}:
            return KINDS.get(kind, kind)
        case {"anyOf": [*several]} | {"oneOf": [*several]} | {"allOf": [*several]}:
            inner = [_inner_kind(one, schema, depth) for one in several[:SHOWN_VALUES]]
            inner += ["…"] if len(several) > SHOWN_VALUES else []
            joint = " and " if "allOf" in node else " or "
            return joint.join(dict.fromkeys(kind for kind in inner if kind and kind != "nothing"))
        case {"type": [*several]}:
            return "text" if "string" in several else " or ".join(KINDS.get(kind, str(kind)) for kind in several)
        case _:
            return ""


def _inner_kind(inner: Any, schema: JsonSchema, depth: int) -> str:
    """Name a type that is part of another, `schema`."""
    if not isinstance(inner, dict) or depth >= MAX_DEPTH:
        return ""
    return _kind({**cast("JsonSchema", inner), "$defs": schema.get("$defs", {})}, depth + 1)


def _types(schema: JsonSchema, depth: int = 0) -> set[str]:
    """Return the JSON types that values of a schema may have, as far as it is not too deep; every one in `{}`."""
    node = at_path(schema, ()) or {}
    found: set[str] = set(KINDS)
    if depth >= MAX_DEPTH:
        return found
    match node.get("type"):
        case "number":
            found = {"number", "integer"}
        case str(kind):
            found = {kind}
        case [*kinds]:
            found = {str(kind) for kind in kinds}.union(["integer"] if "number" in kinds else [])
        case _:
            pass
    parts = {
        word: [
            _types({**cast("JsonSchema", part), "$defs": schema.get("$defs", {})}, depth + 1)
            for part in cast("list[Any]", node.get(word, ()))
            if isinstance(part, dict)
        ]
        for word in ("allOf", "anyOf", "oneOf")
    }
    for part in parts["allOf"]:
        found &= part
    for several in (parts["anyOf"], parts["oneOf"]):
        found &= set[str]().union(*several) if several else found
    return found


def _user_list(value: Any) -> str | None:
    """Return the user key that is mapped over."""
    if not isinstance(value, str):
        return None
    try:
        parsed = parse_text(value)
    except InvalidReference:
        return None
    match parsed:
        case Reference(root="user", path=(str(key),)):
            return key
        case _:
            return None


def _words(name: str) -> str:
    return re.sub(r"[\s._-]+", " ", split_name(name)).strip().lower()
