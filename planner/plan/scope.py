"""What a binding stands for, as far as it is known before the plan runs: a type, a value that is there, or a fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from planner.catalog import ActionSpec, JsonSchema, Slot, as_slot, at_path
from planner.errors import InvalidReference, closest
from planner.plan.bindings import Reference, parse_reference
from planner.plan.issues import IssueKind
from planner.plan.models import PlanStep


@dataclass(frozen=True, slots=True)
class Typed:
    """A binding whose value comes when the plan runs."""

    schema: JsonSchema


@dataclass(frozen=True, slots=True)
class Given:
    """A binding to a value that the caller has given already."""

    value: Any


@dataclass(frozen=True, slots=True)
class MissingKey:
    """A binding to a key that the user has still to give."""

    key: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A binding to what cannot be there."""

    kind: IssueKind
    message: str
    details: dict[str, Any]


Meaning = Typed | Given | MissingKey | Fault


MAX_SUGGESTIONS = 20


class Scope:
    """What the bindings of one plan may refer to."""

    def __init__(
        self,
        specs: Mapping[str, ActionSpec | None],
        mapped: frozenset[str],
        user_inputs: Mapping[str, Any],
        external_slots: Mapping[str, Any],
    ) -> None:
        """Take the actions by step (`None` where unknown), the steps with a `for_each`, and what the caller has."""
        self.specs = specs
        self.mapped = mapped
        self.user_inputs = user_inputs
        self.external = {name: as_slot(name, slot) for name, slot in external_slots.items()}
        self._suggestions = MAX_SUGGESTIONS

    def closest(self, name: str, known: Sequence[str]) -> str:
        """Say which names resemble `name`; only for the first wrong names of a plan, since comparing is slow."""
        self._suggestions -= 1
        return closest(name, known) if self._suggestions >= 0 else "not looked for, after so many wrong names"

    def meaning(self, reference: Reference, step: PlanStep | None) -> Meaning:
        """Tell what `reference`, standing in `step` (`None`: in the plan's outputs), stands for."""
        match reference.root:
            case "user":
                return self._user(reference)
            case "item":
                return self._item(reference, step)
            case root if root in self.specs:
                return self._step(reference, self.specs[root])
            case root:
                known = list(self.specs)
                message = (
                    f"{reference} refers to a step that the plan does not have; closest: {self.closest(root, known)}"
                )
                return Fault("unknown_step", message, {"reference": str(reference), "known": known[:50]})

    def items(self, step: PlanStep) -> JsonSchema:
        """Return the type of `${item}` in `step`; `{}` when it cannot be told."""
        if not isinstance(step.for_each, str):
            return {}
        try:
            source = parse_reference(step.for_each)
        except InvalidReference:
            return {}
        meaning = None if source.root == "item" else self.meaning(source, None)
        return at_path(meaning.schema, (0,)) or {} if isinstance(meaning, Typed) else {}

    def _user(self, reference: Reference) -> Meaning:
        if not reference.path:
            return Typed({"type": "object"})
        key, *below = reference.path
        if key in self.user_inputs:
            return _look_up(reference, self.user_inputs[str(key)], below)
        if key in self.external:
            schema = at_path(self.external[str(key)].schema, below)
            if schema is None:
                return _absent(reference, f"the external value {key!r} has no {_way(below)}")
            return Typed(schema)
        return MissingKey(str(key))

    def _item(self, reference: Reference, step: PlanStep | None) -> Meaning:
        if step is None or step.for_each is None:
            message = f"{reference} stands outside a step with for_each, so there is no item"
            return Fault("unknown_step", message, {"reference": str(reference), "known": []})
        if isinstance(step.for_each, list):
            return Typed({})  # the items differ; each is checked when its turn comes
        schema = at_path(self.items(step), reference.path)
        return Typed(schema) if schema is not None else _absent(reference, f"an item has no {_way(reference.path)}")

    def _step(self, reference: Reference, spec: ActionSpec | None) -> Meaning:
        if spec is None:
            return Typed({})  # the action is unknown, which is an issue of its own
        mapped = reference.root in self.mapped
        slot, below = _output(spec, reference.path)
        if slot is None:
            names = [output.name for output in spec.outputs]
            name = str(reference.path[0])
            message = f"{reference}: {spec.name} has no output {name!r}; it has {', '.join(names) or 'none'}" + (
                f"; for a part of its value write ${{{reference.root}.result.{name}}}" if spec.single_output else ""
            )
            return Fault("unknown_output", message, {"reference": str(reference), "known": names})
        schema = (
            {"type": "array", "items": slot.schema, "$defs": slot.schema.get("$defs", {})} if mapped else slot.schema
        )
        found = at_path(schema, below)
        if found is None:
            return _absent(reference, f"{spec.name} returns nothing at {_way(below)} of {slot.name!r}")
        return Typed(found)


def _output(spec: ActionSpec, path: Sequence[str | int]) -> tuple[Slot | None, Sequence[str | int]]:
    """Return the output that a path below a step starts with, and the rest of the path."""
    if path and isinstance(path[0], str):
        return spec.output(path[0]), path[1:]
    return spec.returns or Slot("result"), path


def _look_up(reference: Reference, value: Any, path: Sequence[str | int]) -> Meaning:
    for part in path:
        if isinstance(part, str):
            found = isinstance(value, Mapping) and part in value
        else:
            found = isinstance(value, list | tuple) and part < len(cast("Sequence[Any]", value))
        if not found:
            return _absent(reference, f"the value given for {reference.path[0]!r} has no {_way([part])}")
        value = cast("Any", value)[part]
    return Given(value)


def _absent(reference: Reference, reason: str) -> Fault:
    return Fault("unknown_output", f"{reference}: {reason}", {"reference": str(reference)})


def _way(path: Sequence[str | int]) -> str:
    return (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".") or "the value"
    )
