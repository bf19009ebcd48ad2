"""What OpenAI's strict mode wants of a JSON Schema (planning.md section 4.1), as a check of any schema."""

from collections.abc import Iterator
from typing import Any

KEYWORDS = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$defs", "$ref", "description",
}  # fmt: skip
LEVELS = 5
PROPERTIES = 5_000
ENUM_VALUES = 1_000
CHARACTERS = 120_000


def faults(schema: Any) -> list[str]:
    """Everything that strict mode would refuse."""
    found = [] if schema.get("type") == "object" else ["the root is no object"]
    nodes = list(walk(schema, "root"))
    for place, node in nodes:
        found += [f"{place}: {fault}" for fault in node_faults(node, schema.get("$defs", {}))]
    deepest = depth(schema, schema.get("$defs", {}))
    found += [f"{deepest} levels of objects"] if deepest > LEVELS else []
    names = [name for _, node in nodes for name in node.get("properties", {})]
    values = [value for _, node in nodes for value in node.get("enum", [])]
    found += [f"{len(names)} properties"] if len(names) > PROPERTIES else []
    found += [f"{len(values)} enum values"] if len(values) > ENUM_VALUES else []
    characters = sum(len(str(text)) for text in [*names, *values, *schema.get("$defs", {})])
    return found + ([f"{characters} characters of names"] if characters > CHARACTERS else [])


def walk(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every schema inside a schema, with its place."""
    yield place, node
    for word in ("properties", "$defs"):
        for name, inner in node.get(word, {}).items():
            yield from walk(inner, f"{place}.{name}")
    for at, inner in enumerate(node.get("anyOf", [])):
        yield from walk(inner, f"{place}|{at}")
    if "items" in node:
        yield from walk(node["items"], f"{place}[]")


def node_faults(node: Any, definitions: Any) -> Iterator[str]:
    if unknown := node.keys() - KEYWORDS:
        yield f"keywords {sorted(unknown)}"
    if not node.keys() & {"type", "anyOf", "$ref"}:
        yield "says nothing"
    if "$ref" in node and node["$ref"].removeprefix("#/$defs/") not in definitions:
        yield f"refers to {node['$ref']}, which is not there"
    if "anyOf" in node and not node["anyOf"]:
        yield "has no alternatives"
    if node.get("type") == "array" and "items" not in node:
        yield "is a list of anything"
    if node.get("type") == "object":
        if node.get("additionalProperties") is not False:
            yield "is open"
        if list(node.get("properties", {})) != node.get("required"):
            yield "has properties that are not required"


def depth(node: Any, definitions: Any) -> int:
    """How many objects lie inside each other, at most."""
    if "$ref" in node:
        return depth(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    inner = [
        *node.get("properties", {}).values(),
        *node.get("anyOf", []),
        *([node["items"]] if "items" in node else []),
    ]
    below = max((depth(one, definitions) for one in inner), default=0)
    return below + (node.get("type") == "object")
