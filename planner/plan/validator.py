"""Whether a plan can run: every fault at once, each once, at the place where it is."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from planner.catalog import ActionCatalog, ActionSpec, JsonSchema, Slot
from planner.catalog.catalog import in_group
from planner.context import RequestIdentity
from planner.errors import InvalidRef, InvalidReference, UnknownAction
from planner.limits import Limits
from planner.plan.bindings import RESERVED_ROOTS, STEP_ID, parse_reference
from planner.plan.graph import PlanGraph, build_graph, find_cycles, step_references
from planner.plan.issues import IssueKind, ValidationIssue, ValidationResult
from planner.plan.models import CandidatePlan, Condition, PlanStep, resolve_step
from planner.plan.scope import Scope
from planner.plan.value_check import ValueCheck

MAX_CANDIDATES = 5
LIST_SLOT = Slot("for_each", {"type": "array"})
ORDERED: JsonSchema = {"type": ["string", "number"]}
"""What `lt`, `le`, `gt` and `ge` compare."""
CONTAINER: JsonSchema = {"type": ["array", "string", "object"]}


def validate(
    plan: CandidatePlan,
    catalog: ActionCatalog,
    user_inputs: Mapping[str, Any] | None = None,
    *,
    external_slots: Mapping[str, Any] | None = None,
    flow_ids: Sequence[str] | None = None,
    identity: RequestIdentity | None = None,
    limits: Limits | None = None,
) -> ValidationResult:
    """Check `plan` against the catalog and what the user has given. Pure: nothing is called, nothing is changed.

    Args:
        plan: The plan; the order of its steps does not matter.
        catalog: Whose actions it may call.
        user_inputs: Values for `${user.key}`; a key that is neither here nor in `external_slots` is missing, which is
            not structural.
        external_slots: Keys whose values come later: name → `Slot`, JSON Schema, type, or a coarse type's name.
        flow_ids: Only these groups of actions, beside the global ones.
        identity: Whose roles decide what may be called; by default every action may be.
        limits: Bounds; the defaults of `Limits`.
    """
    limits = limits or Limits()
    if not plan.steps:
        return ValidationResult.of(
            [ValidationIssue("empty_plan", "", "steps", "the plan has no steps, so there is nothing to run")]
        )
    if len(plan.steps) > limits.steps:
        message = f"the plan has {len(plan.steps):,} steps, and the limit 'steps' is {limits.steps:,}"
        return ValidationResult.of([ValidationIssue("over_budget", "", "steps", message, {"limit": "steps"})])
    oversized = list(_oversized(plan, limits))
    if oversized:
        return ValidationResult.of(oversized)  # nothing walks into values that are too deep or too large
    check = _PlanCheck(plan, catalog, user_inputs or {}, external_slots or {})
    check.run(None if flow_ids is None else set(flow_ids), identity, limits)
    return ValidationResult.of(list(check.issues.values()), check.missing)


class _PlanCheck:
    """One validation of one plan."""

    def __init__(
        self,
        plan: CandidatePlan,
        catalog: ActionCatalog,
        user_inputs: Mapping[str, Any],
        external_slots: Mapping[str, Any],
    ) -> None:
        self.plan = plan
        self.catalog = catalog
        self.issues: dict[tuple[str, ...], ValidationIssue] = {}
        self.missing: dict[str, list[str]] = {}
        self.candidates: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.specs: dict[str, ActionSpec | None] = {}
        self.graph: PlanGraph = build_graph(plan)
        mapped = frozenset(step.id for step in plan.steps if step.for_each is not None)
        self.scope = Scope(self.specs, mapped, user_inputs, external_slots)

    def run(self, groups: set[str] | None, identity: RequestIdentity | None, limits: Limits) -> None:
        self._ids()
        actions = [self._action(step, groups, identity) for step in self.plan.steps]
        for step, spec in zip(self.plan.steps, actions, strict=True):
            same = self.specs.get(step.id, spec) is spec  # of steps with one id, it is not known which is meant
            self.specs[step.id] = spec if same else None
        for step, spec in zip(self.plan.steps, actions, strict=True):
            self._step(step, spec)
        for name, value in self.plan.outputs.items():
            anything = Slot(name)
            self._note(ValueCheck(self.scope, None, self.missing).check(value, anything, ("outputs", name)))
        for cycle in find_cycles(self.graph):
            way = " → ".join([*cycle[:8], "…"] if len(cycle) > 8 else [*cycle, cycle[0]])
            fault = f"these steps wait for each other: {way}" if len(cycle) > 1 else "the step waits for itself"
            self._add("cycle", cycle[0], "", fault, {"steps": cycle})
        self._budget(limits)
        self._warnings()

    def _ids(self) -> None:
        for step_id, count in Counter(step.id for step in self.plan.steps).items():
            if count > 1:
                self._add("duplicate_step", step_id, "id", f"{count} steps have the id {step_id!r}; give each its own")
            if step_id in RESERVED_ROOTS:
                self._add(
                    "reserved_step_id", step_id, "id", f"{step_id!r} is reserved for bindings; give the step another id"
                )
            elif not STEP_ID.match(step_id):
                shown = repr(step_id[:80])
                message = f"{shown} is no step id; use a letter, then up to 63 letters, digits, _ or -"
                self._add("invalid_step_id", step_id, "id", message)

    def _action(self, step: PlanStep, groups: set[str] | None, identity: RequestIdentity | None) -> ActionSpec | None:
        try:
            spec = resolve_step(step, self.catalog)
        except (UnknownAction, InvalidRef) as error:
            field = "action" if step.action_ref is None else "action_ref"
            wanted = step.action if step.action_ref is None else step.action_ref
            if wanted is None:
                self._add("unknown_action", step.id, "action", "the step names no action")
                return None
            similar = self.scope.closest(wanted, list(self.catalog.view.by_name))
            unknown = isinstance(error, UnknownAction)
            message = f"unknown action {wanted!r}; closest: {similar}" if unknown else str(error)
            self._add("unknown_action", step.id, field, message, {"action": wanted, "closest": similar})
            return None
        if step.action is not None and step.action_ref is not None and step.action != spec.name:
            message = f"action says {step.action!r} and action_ref says {step.action_ref!r}; keep the one that is meant"
            self._add(
                "action_mismatch",
                step.id,
                "action_ref",
                message,
                {"action": step.action, "action_ref": step.action_ref},
            )
            return None
        if not in_group(spec, groups):
            message = f"{spec.name} belongs to the group {spec.flow_id!r}, which is not among {sorted(groups or ())}"
            self._add("forbidden_action", step.id, "action", message, {"action": spec.name})
        elif identity is not None and not spec.allows(identity):
            message = f"{spec.name} may be called by the roles {', '.join(sorted(spec.policy.roles))} only"
            self._add("forbidden_action", step.id, "action", message, {"action": spec.name})
        return spec

    def _step(self, step: PlanStep, spec: ActionSpec | None) -> None:
        check = ValueCheck(self.scope, step, self.missing)
        if spec is not None:
            self._inputs(step, spec, check)
        else:  # the bindings are checked all the same, against inputs that could be anything
            for name, value in step.inputs.items():
                self._note(check.check(value, Slot(name), ("inputs", name)))
        if step.for_each is not None:
            self._note(self._for_each(step))
        if step.when is not None:
            self._note(self._when(step, step.when))
        for at, after in enumerate(step.after):
            if after.step not in self.specs:
                known = list(self.specs)
                similar = self.scope.closest(after.step, known)
                message = f"it comes after a step {after.step!r} that the plan does not have; closest: {similar}"
                details = {"reference": after.step, "known": known[:50]}
                self._add("unknown_step", step.id, f"after[{at}]", message, details)

    def _inputs(self, step: PlanStep, spec: ActionSpec, check: ValueCheck) -> None:
        known = {slot.name: slot for slot in spec.inputs}
        for name, value in step.inputs.items():
            slot = known.get(name)
            if slot is None:
                message = f"{spec.name} has no input {name!r}; closest: {self.scope.closest(name, list(known))}"
                self._add("unknown_input", step.id, name, message, {"known": list(known), "location": ["inputs", name]})
                slot = Slot(name)
            self._note(check.check(value, slot, ("inputs", name)))
        for slot in spec.inputs:
            if slot.required and slot.name not in step.inputs:
                message = f"{spec.name} needs {slot.name!r}" + (f": {slot.description}" if slot.description else "")
                details = {
                    "candidates": self._candidates(spec, slot),
                    "expected": dict(slot.schema),
                    "location": ["inputs", slot.name],
                }
                self._add("missing_input", step.id, slot.name, message, details)

    def _candidates(self, spec: ActionSpec, slot: Slot) -> list[dict[str, Any]]:
        """Return what could fill an input; looked for once, however many steps lack it."""
        if (spec.ref, slot.name) not in self.candidates:
            self.candidates[spec.ref, slot.name] = [
                {
                    "action_ref": found.action.ref,
                    "output": ".".join(found.path),  # empty for the whole value, `${step}`
                    "description": found.action.description,
                }
                for found in self.catalog.producers(slot)[:MAX_CANDIDATES]
            ]
        return self.candidates[spec.ref, slot.name]

    def _for_each(self, step: PlanStep) -> Iterator[ValidationIssue]:
        outside = step.model_copy(update={"for_each": None})  # there is no item before the list is known
        if issubclass(type(step.for_each), str | list | tuple):
            yield from ValueCheck(self.scope, outside, self.missing).check(step.for_each, LIST_SLOT, ("for_each",))
        else:
            message = f"for_each is a {type(step.for_each).__name__}; give a list or a binding to one"
            yield ValidationIssue("invalid_literal", step.id, "for_each", message, {"location": ["for_each"]})

    def _when(self, step: PlanStep, condition: Condition) -> Iterator[ValidationIssue]:
        ref, value = Slot("ref"), Slot("value")
        outside = step.model_copy(update={"for_each": None})  # it decides about the whole step, before there is an item
        if condition.op in ("lt", "le", "gt", "ge"):
            ref, value = Slot("ref", ORDERED), Slot("value", ORDERED)
        elif condition.op in ("in", "not_in"):
            value = Slot("value", CONTAINER)
        try:
            parse_reference(condition.ref)
        except InvalidReference as error:
            yield ValidationIssue("invalid_literal", step.id, "when.ref", str(error), {"location": ["when", "ref"]})
        else:  # `exists` asks whether a key was given, so the user need not give it
            missing = {} if condition.op == "exists" else self.missing
            yield from ValueCheck(self.scope, outside, missing).check(condition.ref, ref, ("when", "ref"))
        yield from ValueCheck(self.scope, outside, self.missing).check(condition.value, value, ("when", "value"))

    def _budget(self, limits: Limits) -> None:
        costs = [spec.policy.cost for spec in self.specs.values() if spec is not None]
        for name, total, bound in (
            ("cost", sum(cost.amount for cost in costs), limits.cost),
            ("tokens", sum(cost.tokens for cost in costs), limits.tokens),
        ):
            if bound is not None and total > bound:
                message = f"the steps declare {name} of {total:g} together, and the limit {name!r} is {bound:g}"
                self._add("over_budget", "", "steps", message, {"limit": name})

    def _warnings(self) -> None:
        needed = self._needed()
        blocking = {other for step in self.plan.steps if not step.optional for other in self.graph.edges[step.id]}
        for step in self.plan.steps:
            spec = self.specs[step.id]
            if spec is None:
                continue
            if step.id not in needed and spec.policy.effect == "read":
                self._add("unused_step", step.id, "", f"nothing uses what {step.id!r} gives, and it has no effect")
            if spec.policy.effect == "external" and step.id in blocking and (why := self._stays(spec)) is not None:
                message = f"{spec.name} cannot be undone{why}, and steps that may fail come after it"
                self._add("point_of_no_return", step.id, "", message, {"action": spec.name})

    def _stays(self, spec: ActionSpec) -> str | None:
        """Say why nothing takes back what an action does, or return `None`."""
        undo = spec.policy.undo
        if undo is None:
            return ""
        if not isinstance(undo, str):
            return None
        try:
            found = self.catalog.get_action(undo) if ":" in undo else self.catalog.get_action_by_name(undo)
        except (UnknownAction, InvalidRef):
            found = None
        if found is None:
            return f" (there is no {undo!r})"
        if missing := spec.cannot_undo_with(found):
            return f" ({found.name} requires {', '.join(map(repr, missing))}, neither an input nor an output of it)"
        return f" ({found.name} needs approval)" if found.policy.approval else None

    def _needed(self) -> set[str]:
        """Return the steps that something waits for or that the plan returns: without declared outputs, the last."""
        needed = {other for waits in self.graph.edges.values() for other in waits}
        if self.plan.outputs:
            outputs = PlanStep(id="outputs", inputs=self.plan.outputs)
            needed |= {reference.root for _, reference in step_references(outputs)}
        else:
            needed.add(self.plan.steps[-1].id)
        return needed

    def _add(
        self, kind: IssueKind, step_id: str, field: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        self._note([ValidationIssue(kind, step_id, field, message, details or {})])

    def _note(self, issues: Iterable[ValidationIssue]) -> None:
        """Keep each fault once, though a text may hold the same binding twice."""
        for issue in issues:
            self.issues.setdefault((issue.kind, issue.step_id, issue.field, issue.message), issue)


def _oversized(plan: CandidatePlan, limits: Limits) -> Iterator[ValidationIssue]:
    """Yield what is nested too deeply or weighs too much, in one iterative walk over each value."""
    values = [("", "outputs", name, value) for name, value in plan.outputs.items()]
    for step in plan.steps:
        values += [(step.id, "inputs", name, value) for name, value in step.inputs.items()]
        values.append((step.id, "", "for_each", step.for_each))
        if step.when is not None:
            values += [(step.id, "", "when.ref", step.when.ref), (step.id, "", "when.value", step.when.value)]
    for step_id, place, name, value in values:
        size, depth = measure(value, limits.nesting)
        field = f"{place}.{name}" if place == "outputs" else name
        if depth > limits.nesting:
            message = f"the value is nested deeper than the limit 'nesting' of {limits.nesting} levels"
            yield ValidationIssue("over_budget", step_id, field, message, {"limit": "nesting"})
        elif size > limits.literal_bytes:
            message = (
                f"the literal weighs {size:,} bytes, and the limit 'literal_bytes' is {limits.literal_bytes:,}; "
                "give it as a user input and bind it"
            )
            yield ValidationIssue("over_budget", step_id, field, message, {"limit": "literal_bytes"})


def measure(value: Any, max_depth: int) -> tuple[int, int]:
    """Return about how many bytes `value` has and how deep it is nested; stops below `max_depth`."""
    size, deepest = 0, 0
    levels: list[Iterator[Any]] = [iter([value])]
    while levels:
        depth = len(levels) - 1
        current = next(levels[-1], levels)
        if current is levels:  # the end of this level
            levels.pop()
            continue
        deepest = max(deepest, depth)
        if isinstance(current, str | bytes):
            size += len(current)
            continue
        size += 8
        if depth > max_depth:
            break
        if isinstance(current, Mapping):
            items = cast("Mapping[str, Any]", current)
            size += sum(len(str(key)) for key in items)
            levels.append(iter(items.values()))
        elif isinstance(current, list | tuple):
            levels.append(iter(cast("Sequence[Any]", current)))
    return size, deepest
