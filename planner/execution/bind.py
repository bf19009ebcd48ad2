"""Bindings at run time: from a step's inputs and what is known to the arguments of the action."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

import pydantic_core
from pydantic import SecretStr, TypeAdapter

from planner.catalog import ActionSpec, Slot, conform, to_plain
from planner.errors import BindingError, UnstorableOutput
from planner.execution.secrets import secret_within, secrets_in
from planner.plan import Condition, PlanStep, Reference, Template, parse_text
from planner.plan.bindings import Location, show
from planner.plan.value_check import brief, literal_faults


class Values:
    """What bindings can reach at one moment of a run. Mappings and lists are looked into, attributes never."""

    def __init__(self, user_inputs: Mapping[str, Any], results: Mapping[str, tuple[ActionSpec, Any, bool]]) -> None:
        """Take the caller's inputs, and by step: its action, its whole value, and whether that is one for each item."""
        self.user_inputs = user_inputs
        self.results = results

    def look_up(self, reference: Reference, item: Any, place: str) -> Any:
        """Return what `reference` stands for.

        Raises:
            BindingError: there is nothing at its path; the message names the binding and `place`.
        """
        match reference.root:
            case "user":
                value: Any = self.user_inputs
            case "item":
                value = item
            case root:
                spec, value, mapped = self.results[root]
                return self._output(reference, spec, value, place, mapped=mapped)
        return follow(value, reference.path, reference, place)

    @staticmethod
    def _output(reference: Reference, spec: ActionSpec, value: Any, place: str, *, mapped: bool) -> Any:
        if not reference.path or not isinstance(reference.path[0], str):
            return follow(value, reference.path, reference, place)
        name, *below = reference.path
        if mapped:
            return follow([pick(spec, one, str(name), reference, place) for one in value], below, reference, place)
        return follow(pick(spec, value, str(name), reference, place), below, reference, place)


def pick(spec: ActionSpec, value: Any, name: str, reference: Reference, place: str) -> Any:
    """Return the output `name` of an action's whole value."""
    return value if spec.single_output else follow(value, (name,), reference, place)


def follow(value: Any, path: Sequence[str | int], reference: Reference, place: str) -> Any:
    """Go down `path` through mappings by key and lists by position."""
    current: Any = value
    for part in path:
        if not _has(current, part):
            kind = "nothing" if current is None else f"a {type(current).__name__}"
            raise BindingError(place, f"{reference} is not there: {kind} has no {part!r}")
        current = current[part]
    return current


def _has(value: object, part: str | int) -> bool:
    if isinstance(part, str):
        return isinstance(value, Mapping) and part in cast("Mapping[object, object]", value)
    return isinstance(value, list | tuple) and part < len(cast("Sequence[object]", value))


def resolve(value: Any, values: Values, item: Any, location: Location) -> Any:
    """Return `value` of a plan with every binding replaced; containers are new, so no step can change another's."""
    if isinstance(value, str):
        return _text(value, values, item, location)
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {key: resolve(part, values, item, (*location, key)) for key, part in entries.items()}
    if isinstance(value, list | tuple):
        return [resolve(part, values, item, (*location, at)) for at, part in enumerate(cast("Sequence[Any]", value))]
    return value


def bind_inputs(
    step: PlanStep, spec: ActionSpec, values: Values, item: Any, secrets: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
    """Return the arguments of the action, in the types it asks for, and a hash of the values they came from.

    Raises:
        BindingError: a value is not there or does not fit; the message names the step and the input.
    """
    plain = {name: resolve(value, values, item, (step.id, name)) for name, value in step.inputs.items()}
    if spec.kind == "flow":
        for name, value in plain.items():
            if secrets_in({name: value}) or secret_within(value, secrets):
                raise BindingError(f"{step.id}.{name}", "a flow's state is stored, so it cannot be given a secret")
    arguments = {name: _typed(spec.input(name), value, f"{step.id}.{name}") for name, value in plain.items()}
    return arguments, fingerprint(plain)


def holds(condition: Condition, values: Values, item: Any, step_id: str) -> bool:
    """Tell whether a `when` is true. A path that is not there makes `exists` false, and everything else an error.

    Raises:
        BindingError: the value is not there, or the two values cannot be compared.
    """
    place = f"{step_id}.when"
    try:
        value = resolve(condition.ref, values, item, (step_id, "when"))
    except BindingError:
        if condition.op == "exists":
            return False
        raise
    other = resolve(condition.value, values, item, (step_id, "when"))
    value, other = _alike(value, other, place), _alike(other, value, place)
    try:
        match condition.op:
            case "exists":
                return value is not None
            case "truthy":
                return bool(value)
            case "eq":
                return bool(value == other)
            case "ne":
                return bool(value != other)
            case "lt":
                return bool(value < other)
            case "le":
                return bool(value <= other)
            case "gt":
                return bool(value > other)
            case "ge":
                return bool(value >= other)
            case "in":
                return value in other
            case "not_in":
                return value not in other
    except (TypeError, ValueError):  # a live object of the caller's may compare in its own way
        kinds = f"a {type(value).__name__} with a {type(other).__name__}"
        raise BindingError(place, f"{condition.op} cannot compare {kinds}") from None


def _alike(value: Any, other: Any, place: str) -> Any:
    """Read a text as the date, time or identifier that it is compared with: plans can only hold such values as text."""
    if isinstance(value, str) and isinstance(other, datetime | date | time | timedelta | UUID | Decimal):
        return conform(TypeAdapter(type(other)), value, place)
    return value


def fingerprint(value: Any) -> str:
    """Return 16 hexadecimal digits of the content of plain data; secrets and live objects count by their type only."""
    try:
        content = pydantic_core.to_json(value, bytes_mode="base64", fallback=_kind, inf_nan_mode="strings")
    except (ValueError, RecursionError):  # a lone surrogate, or a list that contains itself: JSON has neither
        content = _kind(value).encode()
    return sha256(content).hexdigest()[:16]


def _kind(value: object) -> str:
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _text(text: str, values: Values, item: Any, location: Location) -> Any:
    parsed = parse_text(text)
    match parsed:
        case str():
            return parsed
        case Reference():
            return _copy(values.look_up(parsed, item, show(location)))
        case Template(parts=parts):
            found = (part if isinstance(part, str) else values.look_up(part, item, show(location)) for part in parts)
            return "".join(as_text(part) for part in found)


def as_text(value: Any) -> str:
    """Write a value inside a text: texts as they are, dates in ISO form, everything else as JSON."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    plain = pydantic_core.to_jsonable_python(value, fallback=repr)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _typed(slot: Slot | None, value: Any, place: str) -> Any:
    if slot is None:
        return value
    if slot.adapter is not None:
        return conform(slot.adapter, value, place)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if slot.schema and (fault := next(literal_faults(value, slot), None)) is not None:
        where = show(fault[0])
        raise BindingError(f"{place}.{where}" if where else place, f"the value is not {brief(slot.schema)}")
    return value


def _copy(value: Any) -> Any:
    """Copy plain containers; live objects that the caller gave are passed as they are."""
    if isinstance(value, dict | list | tuple):
        try:
            plain = to_plain(cast("object", value))
        except UnstorableOutput:
            return cast("Any", value)
        return plain.value
    return value
