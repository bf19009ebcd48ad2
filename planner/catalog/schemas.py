"""JSON Schemas compared: does every value of one fit another, and what lies at a path below one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, cast

from planner.catalog.slot import PYTHON_TYPE, JsonSchema, compile_schema

MAX_DEPTH = 64
"""Schemas are compared down to here and are `UNKNOWN` below."""

ANNOTATIONS = frozenset({
    "$comment", "$defs", "$id", "$schema", "default", "deprecated", "description", "discriminator", "examples",
    "readOnly", "title", "writeOnly",
})  # fmt: skip
"""Words that say nothing about which values are valid."""

NARROWING = frozenset({
    "contains", "dependentRequired", "dependentSchemas", "exclusiveMaximum", "exclusiveMinimum", "format", "if",
    "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength",
    "minProperties", "minimum", "multipleOf", "not", "pattern", "patternProperties", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "uniqueItems",
})  # fmt: skip
"""Words that are compared by being the same, not by what they mean."""


class Fit(Enum):
    """Whether values of one schema can be given where another is asked for."""

    YES = "fits"
    NO = "cannot fit"
    UNKNOWN = "unknown"
    """Some may and some may not, or a schema does not say; checked when the value is there."""


def fits(source: JsonSchema, target: JsonSchema) -> Fit:
    """Compare what a value is known to be with what it has to be. An integer fits a number; anything may fit `{}`.

    A list of texts cannot fit a list of numbers, nor such objects each other: that both may be empty is not meant.
    """
    return _Comparison(source, target).compare(source, target, 0)


class _Comparison:
    """One comparison, with the definitions that each side may refer to."""

    def __init__(self, source: JsonSchema, target: JsonSchema) -> None:
        self.source_definitions: Mapping[str, Any] = source.get("$defs", {})
        self.target_definitions: Mapping[str, Any] = target.get("$defs", {})
        self.known: dict[tuple[str, str], Fit] = {}
        """Pairs of definitions; one that is being compared fits until something in it does not (recursive types)."""

    def compare(self, source: Any, target: Any, depth: int) -> Fit:
        pair = (_reference(source), _reference(target))
        if not all(pair) or _beside(target):
            return self._compare(source, target, depth)
        if pair not in self.known:
            before = self.known.copy()
            self.known[pair] = Fit.YES
            result = self._compare(source, target, depth)
            if result is not Fit.YES:  # then what fitted meanwhile may have done so by assumption only
                self.known = {one: fit for one, fit in self.known.items() if fit is not Fit.YES} | before
                self.known[pair] = result
        return self.known[pair]

    def _compare(self, given: Any, target: Any, depth: int) -> Fit:
        source = _follow(given, self.source_definitions)
        target = _beside(target) or _follow(target, self.target_definitions)
        if target is False or source is False:
            return Fit.NO
        if target is True or not target.keys() - ANNOTATIONS:
            return Fit.YES
        if source is True or depth > MAX_DEPTH:
            return Fit.UNKNOWN
        if _same(source, target) and self.source_definitions == self.target_definitions:
            return Fit.YES
        if alternatives := _alternatives(source):
            return _every(self.compare(one, target, depth + 1) for one in alternatives)
        if len(parts := _parts(target)) > 1:
            return _all_of(self.compare(given, part, depth + 1) for part in parts)
        if "oneOf" in target:
            return _one_of(self.compare(given, one, depth + 1) for one in target["oneOf"])
        if alternatives := _alternatives(target):
            return _any_of(self.compare(given, one, depth + 1) for one in alternatives)
        return self._plain(source, target, depth)

    def _plain(self, source: Mapping[str, Any], target: Mapping[str, Any], depth: int) -> Fit:
        if PYTHON_TYPE in source or PYTHON_TYPE in target:
            return _python_types(source, target)
        types = _types(source.get("type"), target.get("type"))
        if types is Fit.NO:
            return types
        if (given := _values(source)) is not None:
            check = compile_schema({**target, "$defs": self.target_definitions})
            return _every(Fit.YES if check.is_valid(value) else Fit.NO for value in given)
        if (wanted := _values(target)) is not None:
            check = compile_schema({**source, "$defs": self.source_definitions})
            return Fit.UNKNOWN if any(check.is_valid(value) for value in wanted) else Fit.NO
        match source.get("type"):
            case _ if types is Fit.UNKNOWN:
                return types
            case "object":
                result = _all_of(self._objects(source, target, depth))
            case "array":
                result = _all_of(self._arrays(source, target, depth))
            case None:
                return Fit.UNKNOWN
            case _:
                result = Fit.YES
        return Fit.UNKNOWN if result is Fit.YES and _narrower(source, target) else result

    def _objects(self, source: Mapping[str, Any], target: Mapping[str, Any], depth: int) -> Iterator[Fit]:
        known, wanted = source.get("properties", {}), target.get("properties", {})
        given, needed = set(source.get("required", ())), set(target.get("required", ()))
        rest: Any = True if "patternProperties" in source else source.get("additionalProperties", True)
        extra: Any = True if "patternProperties" in target else target.get("additionalProperties", True)
        yield from (Fit.NO if name not in known and rest is False else Fit.UNKNOWN for name in needed - given)
        for name, schema in known.items():
            result = self.compare(schema, wanted.get(name, extra), depth + 1)
            yield result if name in given | needed else _possible(result)
        if rest is not False:
            for name in wanted.keys() - known.keys():
                result = self.compare(rest, wanted[name], depth + 1)
                yield result if name in needed else _possible(result)
            result = self.compare(rest, extra, depth + 1)
            yield result if extra is not False and not known and not wanted else _possible(result)

    def _arrays(self, source: Mapping[str, Any], target: Mapping[str, Any], depth: int) -> Iterator[Fit]:
        first, second = source.get("prefixItems", ()), target.get("prefixItems", ())
        given, wanted = source.get("items", True), target.get("items", True)
        least, most = source.get("minItems", 0), source.get("maxItems", float("inf"))
        for at in range(max(len(first), len(second)) + 1):  # the last one stands for all that follow
            left = first[at] if at < len(first) else given
            right = second[at] if at < len(second) else wanted
            if left is False or at >= most:
                return
            result = self.compare(left, right, depth + 1)
            yield _possible(result) if right is False and at >= least else result


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
    if PYTHON_TYPE in node or kind not in (None, "array" if isinstance(part, int) else "object"):
        return None
    if isinstance(part, int):
        prefix = node.get("prefixItems", ())
        below = prefix[part] if 0 <= part < len(prefix) else node.get("items", True)
    else:
        rest = True if "patternProperties" in node else node.get("additionalProperties", True)
        below = node.get("properties", {}).get(part, rest)
    return None if below is False else {} if below is True else below


def _follow(schema: Any, definitions: Mapping[str, Any]) -> Any:
    for _ in range(MAX_DEPTH):
        if not (name := _reference(schema)):
            return schema
        schema = definitions.get(name, True)
    return True


def _reference(schema: Any) -> str:
    """Return the name of the definition that a schema refers to, or nothing."""
    if not isinstance(schema, dict):
        return ""
    return str(cast("dict[str, Any]", schema).get("$ref", "")).removeprefix("#/$defs/")


def _beside(target: Any) -> Any:
    """Return a target that refers to a definition and says more beside it as two that both have to hold."""
    if not _reference(target) or not target.keys() - ANNOTATIONS - {"$ref"}:
        return None
    return {"allOf": [{"$ref": target["$ref"]}, {word: part for word, part in target.items() if word != "$ref"}]}


def _parts(target: Mapping[str, Any]) -> list[Any]:
    """Split a target into what has to hold together."""
    parts: list[Any] = [*target.get("allOf", ())]
    parts += [{word: target[word]} for word in ("anyOf", "oneOf") if word in target]
    rest = {word: part for word, part in target.items() if word not in ANNOTATIONS | {"allOf", "anyOf", "oneOf"}}
    return [*parts, rest] if rest else [*parts, True] if "allOf" in target else parts


def _alternatives(schema: Mapping[str, Any]) -> list[Any]:
    if "anyOf" in schema or "oneOf" in schema:
        return list(schema.get("anyOf", schema.get("oneOf", ())))
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in cast("list[str]", kinds)] if isinstance(kinds, list) else []


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    if schema.get("type") == "null":
        return [None]
    values = schema.get("enum")
    return cast("list[Any]", values) if isinstance(values, list) else None


def _types(given: Any, wanted: Any) -> Fit:
    if wanted is None or given == wanted or (given == "integer" and wanted == "number"):
        return Fit.YES
    return Fit.UNKNOWN if given is None or (given == "number" and wanted == "integer") else Fit.NO


def _python_types(source: Mapping[str, Any], target: Mapping[str, Any]) -> Fit:
    """Compare where one side is a Python type with a codec; a value of another name may be of a subclass."""
    if source.get(PYTHON_TYPE) == target.get(PYTHON_TYPE):
        return Fit.YES
    return Fit.NO if "type" in source or "type" in target else Fit.UNKNOWN


def _narrower(source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Tell whether the target asks for something that the source does not promise in the same words."""
    if any(target[word] != source.get(word) for word in NARROWING & target.keys()):
        return True
    return source.get("format") == "binary" and target.get("format") != "binary"  # not all bytes are text


def _same(source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    return source == target and repr(source) == repr(target)  # for Python, 1 == True


def _possible(fit: Fit) -> Fit:
    """Turn what cannot fit into what may, where the part that does not fit may be absent."""
    return Fit.UNKNOWN if fit is Fit.NO else fit


def _every(results: Iterable[Fit]) -> Fit:
    """All alternatives of the source have to fit; two different answers make none."""
    first: Fit | None = None
    for result in results:
        if result is Fit.UNKNOWN or result is not (first or result):
            return Fit.UNKNOWN
        first = result
    return first or Fit.UNKNOWN


def _any_of(results: Iterable[Fit]) -> Fit:
    """One alternative of the target is enough."""
    best = Fit.NO
    for result in results:
        if result is Fit.YES:
            return result
        best = Fit.UNKNOWN if result is Fit.UNKNOWN else best
    return best


def _one_of(results: Iterable[Fit]) -> Fit:
    """Exactly one alternative of the target has to fit."""
    seen = list(results)
    if Fit.UNKNOWN in seen or seen.count(Fit.YES) > 1:
        return Fit.UNKNOWN
    return Fit.YES if Fit.YES in seen else Fit.NO


def _all_of(results: Iterable[Fit]) -> Fit:
    """The first part that cannot fit decides; what follows it is not looked at."""
    worst = Fit.YES
    for result in results:
        if result is Fit.NO:
            return result
        worst = Fit.UNKNOWN if result is Fit.UNKNOWN else worst
    return worst
