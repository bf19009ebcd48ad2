"""Whether one value of a plan - a literal, a binding, or a mixture - fits where it stands."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, cast

import pydantic_core
from pydantic import SecretStr, TypeAdapter

from planner.catalog import Fit, JsonSchema, Slot, at_path, conform, fits, to_plain
from planner.catalog.slot import PYTHON_TYPE
from planner.errors import BindingError, InvalidReference, UnstorableOutput
from planner.plan.bindings import Location, Reference, Template, has_bindings, parse_text, show
from planner.plan.issues import ValidationIssue
from planner.plan.models import PlanStep
from planner.plan.scope import Fault, Given, MissingKey, Scope, Typed

MAX_LITERAL_FAULTS = 5


class ValueCheck:
    """Checks the values of one step and remembers which user keys are missing."""

    def __init__(self, scope: Scope, step: PlanStep | None, missing: dict[str, list[str]]) -> None:
        self.scope = scope
        self.step = step
        self.step_id = "" if step is None else step.id
        self.missing = missing

    def check(self, value: Any, target: Slot, location: Location) -> Iterator[ValidationIssue]:
        """Yield every fault of `value`, which stands at `location` and is given to `target`."""
        if not has_bindings(value):
            yield from self._literal(value, target, location)
        elif isinstance(value, str):
            yield from self._text(value, target, location)
        elif isinstance(value, Mapping):
            yield from self._mapping(cast("Mapping[str, Any]", value), target, location)
        else:
            yield from self._list(value, target, location)

    def _text(self, text: str, target: Slot, location: Location) -> Iterator[ValidationIssue]:
        try:
            parsed = parse_text(text)
        except InvalidReference as error:
            yield self._issue("invalid_literal", location, str(error), {})
            return
        match parsed:
            case str():
                yield from self._literal(parsed, target, location)
            case Reference():
                yield from self._reference(parsed, target, location)
            case Template(parts=parts):
                anything = Slot(target.name)
                for part in parts:
                    if isinstance(part, Reference):
                        yield from self._reference(part, anything, location)
                yield from self._typed({"type": "string"}, target, location, f"text with bindings, {text!r},")

    def _reference(self, reference: Reference, target: Slot, location: Location) -> Iterator[ValidationIssue]:
        match self.scope.meaning(reference, self.step):
            case Fault(kind=kind, message=message, details=details):
                yield self._issue(kind, location, message, details)
            case MissingKey(key=key):
                places = self.missing.setdefault(key, [])
                place = ".".join(part for part in (self.step_id, show(location).removeprefix("inputs.")) if part)
                if place not in places:
                    places.append(place)
            case Given(value=value):
                if (reason := misfit(value, target)) is not None:
                    details = {"reference": str(reference), "expected": dict(target.schema)}
                    yield self._issue(
                        "type_mismatch", location, f"the value given for {reference} does not fit: {reason}", details
                    )
            case Typed(schema=schema):
                yield from self._typed(schema, target, location, str(reference))

    def _typed(self, schema: JsonSchema, target: Slot, location: Location, what: str) -> Iterator[ValidationIssue]:
        if fits(schema, target.schema) is Fit.NO:
            details = {"reference": what, "given": dict(schema), "expected": dict(target.schema)}
            message = f"{what} is {brief(schema)}, where {brief(target.schema)} is needed"
            yield self._issue("type_mismatch", location, message, details)

    def _list(self, value: Any, target: Slot, location: Location) -> Iterator[ValidationIssue]:
        if fits({"type": "array"}, target.schema) is Fit.NO:
            message = f"a list is given, where {brief(target.schema)} is needed"
            yield self._issue("type_mismatch", location, message, {"expected": dict(target.schema)})
            return
        for at, item in enumerate(value):
            yield from self.check(item, _part(target, at), (*location, at))

    def _mapping(self, value: Mapping[str, Any], target: Slot, location: Location) -> Iterator[ValidationIssue]:
        shape = at_path(target.schema, ()) or {}
        if fits({"type": "object"}, target.schema) is Fit.NO:
            message = f"an object is given, where {brief(target.schema)} is needed"
            yield self._issue("type_mismatch", location, message, {"expected": dict(target.schema)})
            return
        for name in shape.get("required", ()):
            if name not in value:
                yield self._issue(
                    "type_mismatch", location, f"the object lacks {name!r}", {"expected": dict(target.schema)}
                )
        for name, item in value.items():
            if at_path(target.schema, (name,)) is None:
                message = f"{brief(target.schema)} has no {name!r}"
                yield self._issue("type_mismatch", (*location, name), message, {"expected": dict(target.schema)})
                continue
            yield from self.check(item, _part(target, name), (*location, name))

    def _literal(self, value: Any, target: Slot, location: Location) -> Iterator[ValidationIssue]:
        for path, message in islice(literal_faults(value, target), MAX_LITERAL_FAULTS):
            details = {"expected": dict(target.schema), "value": value if len(repr(value)) <= 200 else None}
            yield self._issue("invalid_literal", (*location, *path), message, details)

    def _issue(self, kind: Any, location: Location, message: str, details: dict[str, Any]) -> ValidationIssue:
        field = show(location)
        return ValidationIssue(
            kind, self.step_id, field.removeprefix("inputs."), message, {**details, "location": list(location)}
        )


def literal_faults(value: Any, target: Slot) -> Iterator[tuple[Location, str]]:
    """Yield where in `value` and why it is not what `target` asks for.

    What the parameter's own type takes is right, whatever its schema says: the type decides when the action is called.
    """
    reason = None if target.adapter is None else _refusal(target.adapter, value)
    if target.adapter is not None and reason is None:
        return
    if not target.schema:
        return
    try:
        errors = list(target.validator.iter_errors(value))
    except (ValueError, TypeError):  # Python values, such as dates, in a plan that was written in Python
        try:
            errors = list(target.validator.iter_errors(pydantic_core.to_jsonable_python(value, fallback=repr)))
        except ValueError:  # half of a surrogate pair, which JSON can write and nothing can store
            yield (), "it holds text that is no Unicode"
            return
    for error in errors:
        yield tuple(error.instance_path), _shorten(error.message)
    if reason is not None and not errors:
        yield (), _shorten(reason)


def misfit(value: Any, target: Slot) -> str | None:
    """Say why a Python value cannot be given to `target`, or return `None`; never shows the value."""
    if isinstance(value, SecretStr) and target.adapter is None:
        value = value.get_secret_value()
    try:
        plain = value if isinstance(value, SecretStr) else to_plain(value).value
    except UnstorableOutput:
        plain = value  # a live object: it is checked by the parameter's own type
    if target.adapter is not None:
        return _refusal(target.adapter, plain)
    fault = next(literal_faults(plain, target), None)
    return None if fault is None else f"it is not {brief(target.schema)}"


def brief(schema: JsonSchema) -> str:
    """Name a schema in a word or two, for messages."""
    shape = at_path(schema, ()) or {}
    match shape:
        case {"const": value}:
            return f"the value {value!r}"
        case {"enum": values}:
            return f"one of {_shorten(', '.join(repr(value) for value in values))}"
        case {"anyOf": alternatives} | {"oneOf": alternatives}:
            definitions = schema.get("$defs", {})
            names = [brief({**one, "$defs": definitions}) for one in alternatives if isinstance(one, dict)]
            return " or ".join(dict.fromkeys(names))
        case {"type": "array", "items": dict()}:
            items = brief({**cast("JsonSchema", shape["items"]), "$defs": schema.get("$defs", {})})
            return f"a list of {items.removeprefix('a ').removeprefix('an ')}"
        case {"type": "object", "title": str(title)} if "properties" in shape:
            return f"a {title} object"
        case {"type": "object"}:
            return "an object"
        case {"type": "array"}:
            return "a list"
        case {"type": "null"}:
            return "nothing"
        case {"type": str(kind)}:
            words = {"string": "text", "integer": "an integer", "number": "a number", "boolean": "true or false"}
            return words.get(kind, kind) + (f" ({shape['format']})" if isinstance(shape.get("format"), str) else "")
        case _ if PYTHON_TYPE in shape:
            return f"a {shape[PYTHON_TYPE]}"
        case _:
            return "something else"


def _refusal(adapter: TypeAdapter[Any], value: object) -> str | None:
    try:
        conform(adapter, value, "it")
    except BindingError as error:
        return str(error).removeprefix("it: ")
    return None


def _part(target: Slot, key: str | int) -> Slot:
    schema = at_path(target.schema, (key,))
    return Slot(str(key), schema or {})


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}…"
