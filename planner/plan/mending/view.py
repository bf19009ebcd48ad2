"""What every mend looks at: a plan with its actions and types, and the place that an issue names."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar, cast

from planner.catalog import ActionCatalog, ActionSpec, JsonSchema, at_path
from planner.errors import InvalidReference
from planner.plan.bindings import Location, Reference, Template, parse_text, references_in, write_text
from planner.plan.estimate import action_of
from planner.plan.graph import build_graph
from planner.plan.issues import ValidationIssue
from planner.plan.mending.patches import ABSENT
from planner.plan.models import CandidatePlan, PlanStep
from planner.plan.scope import Scope

T = TypeVar("T")

Path = tuple[str | int, ...]

_PART = re.compile(r"\[(\d+)\]|\.?([^.\[\]]+)")


@dataclass(frozen=True)
class PlanView:
    """A plan as one round of mending sees it."""

    plan: CandidatePlan
    catalog: ActionCatalog
    user_keys: Collection[str] = ()
    actions: Collection[str] | None = None
    """The actions that a mend may bring in; `None` for all of the catalog."""
    specs: dict[str, ActionSpec | None] = field(init=False)
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        specs = {step.id: action_of(step, self.catalog) for step in self.plan.steps}
        mapped = frozenset(step.id for step in self.plan.steps if step.for_each is not None)
        object.__setattr__(self, "specs", specs)
        object.__setattr__(self, "scope", Scope(specs, mapped, {}, dict.fromkeys(self.user_keys)))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The plan's JSON form, which patches name their places in."""
        return self.plan.to_dict()

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each step stands; an id that two steps share names no place, so it is left out."""
        found = {step.id: at for at, step in enumerate(self.plan.steps)}
        shared = len(found) < len(self.plan.steps)
        counts = defaultdict[str, int](int)
        for step in self.plan.steps if shared else ():
            counts[step.id] += 1
        return {step_id: at for step_id, at in found.items() if counts[step_id] < 2}

    @cached_property
    def known_actions(self) -> list[str]:
        """Names that a step may call."""
        return [name for name in self.catalog.view.by_name if self.actions is None or name in self.actions]

    @cached_property
    def actions_by_input(self) -> dict[str, list[str]]:
        """Input name → the actions that have it."""
        found = defaultdict[str, list[str]](list)
        for name in self.known_actions:
            for slot in self.catalog.view.by_name[name].inputs:
                found[slot.name].append(name)
        return found

    @cached_property
    def declared_outputs(self) -> set[str]:
        """The names of all outputs of the catalog."""
        return {slot.name for spec in self.catalog.view.specs for slot in spec.outputs}

    @cached_property
    def uses(self) -> dict[str, list[Reference]]:
        """Step id → the bindings anywhere in the plan that start with it, also for ids that no step has."""
        found = defaultdict[str, list[Reference]](list)
        for _, reference in references_in([self.document.get("outputs"), self.document["steps"]]):
            found[reference.root].append(reference)
        return found

    @cached_property
    def _dependents(self) -> Mapping[str, list[str]]:
        found = defaultdict[str, list[str]](list)
        for step, waits in build_graph(self.plan).edges.items():
            for other in waits:
                found[other].append(step)
        return found

    def behind(self, step_id: str) -> set[str]:
        """Return `step_id` and every step that waits for it, however far: what it must not wait for itself."""
        reached = {step_id}
        pending = [step_id]
        while pending:
            for step in self._dependents.get(pending.pop(), ()):
                if step not in reached:
                    reached.add(step)
                    pending.append(step)
        return reached

    def step_of(self, issue: ValidationIssue) -> PlanStep | None:
        """Return the one step that `issue` is about."""
        at = self.positions.get(issue.step_id)
        return None if at is None else self.plan.steps[at]

    def path_of(self, issue: ValidationIssue) -> Path | None:
        """Return the place of `issue` in `document`, or `None` when it cannot be told."""
        location = location_of(issue)
        if not issue.step_id:
            return location if location[:1] == ("outputs",) else None
        at = self.positions.get(issue.step_id)
        return None if at is None else ("steps", at, *location)

    def expected(self, path: Path) -> JsonSchema:
        """Return the type of what has to stand at `path`; `{}` when anything may."""
        match path:
            case ("steps", int(at), "inputs", str(name), *below):
                spec = self.specs[self.plan.steps[at].id]
                slot = None if spec is None else spec.input(name)
                return {} if slot is None else at_path(slot.schema, below) or {}
            case ("steps", int(), "for_each"):
                return {"type": "array"}
            case _:
                return {}


def location_of(issue: ValidationIssue) -> Location:
    """Return where in its step an issue is, from its details or, failing that, from its field."""
    given: object = issue.details.get("location")
    if isinstance(given, Sequence) and not isinstance(given, str):
        return tuple(cast("Sequence[str | int]", given))
    parts = tuple(int(index) if index else name for index, name in _PART.findall(issue.field))
    outside = ("after", "action", "action_ref", "for_each", "when", "id", "outputs", "inputs")
    return parts if parts[:1] and parts[0] in outside else ("inputs", *parts)


def value_at(document: Any, path: Path) -> Any:
    """Return what stands at `path`, or `ABSENT`."""
    for part in path:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return document


def with_change(document: Any, path: Path, before: Any, after: Any) -> Any:
    """Return `document` with `after` where `before` stood; what lies beside the way is shared, not copied.

    `ABSENT` before adds (in a list: inserts), `ABSENT` after takes away.
    """
    if not path:
        return after
    part, *below = path
    if isinstance(part, int):
        items = list(cast("Sequence[Any]", document))
        if below:
            items[part] = with_change(items[part], tuple(below), before, after)
        else:
            items[part : part + (before is not ABSENT)] = [] if after is ABSENT else [after]
        return items
    node = dict(cast("Mapping[str, Any]", document))
    if below:
        node[part] = with_change(node.get(part, {}), tuple(below), before, after)
    elif after is ABSENT:
        node.pop(part, None)
    else:
        node[part] = after
    return node


def references_at(text: Any) -> list[Reference]:
    """Return the bindings of one text of a plan."""
    return [reference for _, reference in references_in(text)] if isinstance(text, str) else []


def replaced(text: str, old: Reference, new: Reference) -> str:
    """Write `text` with `new` wherever it has `old`."""
    try:
        parsed = parse_text(text)
    except InvalidReference:
        return text
    match parsed:
        case Reference():
            return str(new if parsed == old else parsed)
        case Template(parts=parts):
            return write_text([new if part == old else part for part in parts])
        case str():
            return text


def only(values: Iterable[T]) -> T | None:
    """Return the only value, or `None` when there is none or more than one."""
    found = list(islice(values, 2))
    return found[0] if len(found) == 1 else None
