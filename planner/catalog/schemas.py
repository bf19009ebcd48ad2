"""JSON Schemas compared: does every value of one fit another, and what lies at a path below one."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

from planner.catalog.slot import JsonSchema, compile_schema

MAX_DEPTH = 24
"""Recursive schemas are compared down to here and are `UNKNOWN` below."""


class Fit(Enum):
    """Whether values of one schema can be given where another is asked for."""

    YES = "fits"
    NO = "cannot fit"
    UNKNOWN = "unknown"
    """Some may and some may not, or a schema does not say; checked when the value is there."""


def fits(source: JsonSchema, target: JsonSchema) -> Fit:
    """Compare what a value is known to be with what it has to be. An integer fits a number; anything may fit `{}`."""
    return _Comparison(source, target).compare(source, target, 0)


class _Comparison:
    """One comparison, with the definitions that each side may refer to."""

    def __init__(self, source: JsonSchema, target: JsonSchema) -> None:
        self.source_definitions: Mapping[str, Any] = source.get("$defs", {})
        self.target_definitions: Mapping[str, Any] = target.get("$defs", {})

    def compare(self, source: Any, target: Any, depth: int) -> Fit:
        source = _follow(source, self.source_definitions)
        target = _follow(target, self.target_definitions)
        if target is False or source is False:
            return Fit.NO
        if target is True or target == {}:
            return Fit.YES
        if source is True or depth > MAX_DEPTH:
            return Fit.UNKNOWN
        if source == target and self.source_definitions == self.target_definitions:
            return Fit.YES
        if alternatives := _alternatives(source):
            return _every(self.compare(one, target, depth + 1) for one in alternatives)
        if alternatives := _alternatives(target):
            return _any(self.compare(source, one, depth + 1) for one in alternatives)
        if "allOf" in target:
            rest = {key: value for key, value in target.items() if key not in ("allOf", "$defs")}
            return _all_of(
                self.compare(source, one, depth + 1) for one in [*target["allOf"], *([rest] if rest else [])]
            )
        return self._plain(source, target, depth)

    def _plain(self, source: Mapping[str, Any], target: Mapping[str, Any], depth: int) -> Fit:
        if (values := _values(source)) is not None:
            return _every(self._literal(value, target) for value in values)
        if _values(target) is not None:
            return self._types(source, target) if self._types(source, target) is Fit.NO else Fit.UNKNOWN
        result = self._types(source, target)
        if result is not Fit.YES:
            return result
        match target.get("type"):
            case "object":
                result = self._objects(source, target, depth)
            case "array":
                result = self._arrays(source, target, depth)
            case _:
                pass
        return Fit.UNKNOWN if result is Fit.YES and _narrower(source, target) else result

    def _literal(self, value: Any, target: Mapping[str, Any]) -> Fit:
        schema = {**target, "$defs": self.target_definitions} if self.target_definitions else dict(target)
        return Fit.YES if compile_schema(schema).is_valid(value) else Fit.NO

    @staticmethod
    def _types(source: Mapping[str, Any], target: Mapping[str, Any]) -> Fit:
        if "type" not in target:
            return Fit.YES
        given = source.get("type")
        if given is None:
            return Fit.UNKNOWN
        wanted = target["type"]
        if given == wanted or (given == "integer" and wanted == "number"):
            return Fit.YES
        return Fit.UNKNOWN if given == "number" and wanted == "integer" else Fit.NO

    def _objects(self, source: Mapping[str, Any], target: Mapping[str, Any], depth: int) -> Fit:
        known: Mapping[str, Any] = source.get("properties", {})
        wanted: Mapping[str, Any] = target.get("properties", {})
        closed = source.get("additionalProperties") is False
        required = set(source.get("required", ()))
        results: list[Fit] = []
        for name in target.get("required", ()):
            if name not in required:
                results.append(Fit.NO if name not in known and closed else Fit.UNKNOWN)
        extra = target.get("additionalProperties", True)
        for name, schema in known.items():
            if name in wanted:
                results.append(self.compare(schema, wanted[name], depth + 1))
            elif extra is False:
                results.append(Fit.NO if name in required else Fit.UNKNOWN)
            elif extra is not True:
                results.append(self.compare(schema, extra, depth + 1))
        if not closed and (extra is not True or wanted.keys() - known.keys()):
            open_side = source.get("additionalProperties", True)
            same = isinstance(extra, dict) and isinstance(open_side, dict)
            results.append(self.compare(open_side, extra, depth + 1) if same and not wanted else Fit.UNKNOWN)
        return _all_of(results)

    def _arrays(self, source: Mapping[str, Any], target: Mapping[str, Any], depth: int) -> Fit:
        results: list[Fit] = []
        given, wanted = source.get("items", True), target.get("items", True)
        first, second = source.get("prefixItems", ()), target.get("prefixItems", ())
        for at in range(max(len(first), len(second))):
            left = first[at] if at < len(first) else given
            right = second[at] if at < len(second) else wanted
            results.append(self.compare(left, right, depth + 1))
        if given is not False:
            items = self.compare(given, wanted, depth + 1)
            # an array of the wrong items may still be empty, but nobody means that
            results.append(items)
        return _all_of(results)


def at_path(schema: JsonSchema, path: Sequence[str | int]) -> JsonSchema | None:
    """Return the schema of what lies at `path` below a value of `schema`; `{}` when it cannot be told.

    Returns:
        `None` when nothing can lie there: a closed object without the property, an index into what is no list.
    """
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    current: Any = schema
    for part in path:
        below = _below(_follow(current, definitions), part, definitions, 0)
        if below is None:
            return None
        current = below
    found = _follow(current, definitions)
    if not isinstance(found, dict):
        return {}
    node = cast("dict[str, Any]", found)
    return {**node, "$defs": definitions} if definitions and node is not schema else node


def _below(schema: Any, part: str | int, definitions: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return {}
    node = cast("dict[str, Any]", schema)
    if alternatives := _alternatives(node):
        found = [_below(_follow(one, definitions), part, definitions, depth + 1) for one in alternatives]
        kept = [one for one in found if one is not None]
        return None if not kept else kept[0] if len(kept) == 1 else {"anyOf": kept}
    kind = node.get("type")
    if isinstance(part, int):
        if kind not in (None, "array"):
            return None
        prefix = node.get("prefixItems", ())
        below = prefix[part] if 0 <= part < len(prefix) else node.get("items", {})
        return None if below is False else {} if below is True else below
    if kind not in (None, "object"):
        return None
    below = node.get("properties", {}).get(part, node.get("additionalProperties", {}))
    return None if below is False else {} if below is True else below


def _follow(schema: Any, definitions: Mapping[str, Any]) -> Any:
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict) or "$ref" not in schema:
            return cast("Any", schema)
        schema = definitions.get(str(cast("dict[str, Any]", schema)["$ref"]).removeprefix("#/$defs/"), True)
    return True


def _alternatives(schema: Mapping[str, Any]) -> list[Any]:
    if "anyOf" in schema or "oneOf" in schema:
        return list(schema.get("anyOf", schema.get("oneOf", ())))
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in cast("list[str]", kinds)] if isinstance(kinds, list) else []


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return cast("list[Any]", values) if isinstance(values, list) else None


NARROWING = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
    "format", "minItems", "maxItems", "uniqueItems", "contains", "minProperties", "maxProperties", "propertyNames", "not", "if",
})  # fmt: skip


def _narrower(source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Tell whether the target asks for something that the source does not promise in the same words."""
    return any(target[word] != source.get(word) for word in NARROWING & target.keys())


def _every(results: Any) -> Fit:
    """All alternatives of the source have to fit."""
    seen = set(results)
    return seen.pop() if len(seen) == 1 else Fit.UNKNOWN


def _any(results: Any) -> Fit:
    """One alternative of the target is enough."""
    seen = set(results)
    return Fit.YES if Fit.YES in seen else Fit.NO if seen == {Fit.NO} or not seen else Fit.UNKNOWN


def _all_of(results: Any) -> Fit:
    seen = set(results)
    return Fit.NO if Fit.NO in seen else Fit.UNKNOWN if Fit.UNKNOWN in seen else Fit.YES
