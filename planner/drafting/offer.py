"""Which actions a draft may use: those that the request allows, of a large catalog those that fit the goal."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from planner.catalog import ActionCatalog, ActionSpec, Producer, Slot
from planner.catalog.words import split_name
from planner.drafting.request import PlanningContext
from planner.errors import UnknownAction
from planner.plan import CandidatePlan, ValidationIssue, ValidationResult, resolve_step

ALL_ACTIONS = 50
"""Up to this many allowed actions are offered all, which keeps the prompt the same for every goal (planning.md 4.3)."""

RETRIEVED = 25
FOUND_BY_NAME = 5
SHOWN_PRODUCERS = 3

ABOUT_INPUTS = frozenset({"missing_input", "unknown_step", "unknown_output", "type_mismatch"})


class Offer:
    """The actions that one draft is offered. The set only grows: what was shown once stays."""

    def __init__(self, catalog: ActionCatalog, context: PlanningContext) -> None:
        self.catalog = catalog
        self.flow_ids = context.flow_ids
        self.excluded = frozenset(context.exclude_actions)
        self.allowed = {
            spec.name: spec
            for spec in catalog.iter_actions(flow_ids=context.flow_ids)
            if spec.allows(context.identity) and self.excluded.isdisjoint((spec.name, spec.ref))
        }
        self.first: tuple[ActionSpec, ...] = tuple(self._retrieve(context))
        self.further: list[ActionSpec] = []

    @property
    def specs(self) -> tuple[ActionSpec, ...]:
        """All actions that were offered so far."""
        return (*self.first, *self.further)

    def find(self, name: str) -> ActionSpec | None:
        """Return an allowed action by name, offered or not."""
        return self.allowed.get(name)

    def forbidden(self, plan: CandidatePlan) -> list[ValidationIssue]:
        """Return an issue for each step that calls an excluded action."""
        found: list[ValidationIssue] = []
        for step in plan.steps if self.excluded else ():
            try:
                spec = resolve_step(step, self.catalog)
            except (UnknownAction, ValueError):
                continue  # validation tells
            if not self.excluded.isdisjoint((spec.name, spec.ref)):
                message = f"{spec.name} must not be used in this plan; reach the goal without it"
                found.append(ValidationIssue("forbidden_action", step.id, "action", message, {"action": spec.name}))
        return found

    def producers(self, plan: CandidatePlan, validation: ValidationResult) -> dict[str, list[Producer]]:
        """Return what could fill the inputs that lack something, by place; their actions are offered from now on."""
        found: dict[str, list[Producer]] = {}
        for place, slot in dict(self._lacking(plan, validation)).items():
            producers = self.catalog.producers(slot, flow_ids=self.flow_ids)
            allowed = [one for one in producers if one.action.name in self.allowed][:SHOWN_PRODUCERS]
            if allowed:
                found[place] = allowed
                self._add(one.action for one in allowed)
        return found

    def widen(self, plan: CandidatePlan, validation: ValidationResult) -> None:
        """Offer what resembles the actions that a plan names and the catalog does not have."""
        for issue in validation.issues:
            step = plan.step(issue.step_id) if issue.kind == "unknown_action" else None
            name = (step.action or step.action_ref) if step else None
            if name:
                words = split_name(name.partition("@")[0].rpartition(":")[2])
                self._add(hit.action for hit in self.catalog.search(words, FOUND_BY_NAME, flow_ids=self.flow_ids))
                self._add(self.allowed[one] for one in get_close_matches(name, self.allowed, n=3, cutoff=0.5))
        self._add(spec for step in plan.steps if (spec := self.find(step.action or "")) is not None)

    def _retrieve(self, context: PlanningContext) -> Iterable[ActionSpec]:
        if len(self.allowed) <= ALL_ACTIONS:
            return self.allowed.values()
        wants = context.wants or ()
        words = " ".join([context.goal, *([wants] if isinstance(wants, str) else wants)])
        hits = self.catalog.search(words, RETRIEVED, flow_ids=context.flow_ids)
        return [hit.action for hit in hits if hit.action.name in self.allowed]

    def _add(self, specs: Iterable[ActionSpec]) -> None:
        known = {spec.name for spec in self.specs}
        for spec in specs:
            if spec.name not in known and spec.name in self.allowed:
                known.add(spec.name)
                self.further.append(spec)

    def _lacking(self, plan: CandidatePlan, validation: ValidationResult) -> Iterator[tuple[str, Slot]]:
        for issue in validation.issues:
            if issue.kind in ABOUT_INPUTS and (slot := self._slot(plan, issue.step_id, issue.field)) is not None:
                yield f"{issue.step_id}.{slot.name}", slot
        for places in validation.missing_user_bindings.values():
            for place in places:
                step_id, _, field = place.partition(".")
                if (slot := self._slot(plan, step_id, field)) is not None:
                    yield f"{step_id}.{slot.name}", slot

    def _slot(self, plan: CandidatePlan, step_id: str, field: str) -> Slot | None:
        step = plan.step(step_id)
        spec = self.find(step.action or "") if step else None
        name = field.removeprefix("inputs.")
        return _longest(spec.inputs, name) if spec else None


def _longest(slots: Sequence[Slot], field: str) -> Slot | None:
    """Return the slot that `field` lies in; a slot's name may have dots."""
    fitting = [slot for slot in slots if field == slot.name or field.startswith((f"{slot.name}.", f"{slot.name}["))]
    return max(fitting, key=lambda slot: len(slot.name), default=None)
