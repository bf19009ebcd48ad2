"""Which actions a draft may use: those that the request allows, of a large catalog those that fit the goal."""

from collections.abc import Iterable, Iterator, Sequence

from planner.catalog import ActionCatalog, ActionSpec, Producer, Slot
from planner.catalog.search import ALL_ACTIONS, RETRIEVED
from planner.catalog.words import split_name
from planner.drafting.request import PlanningContext
from planner.drafting.typed_search import allowed_by
from planner.errors import UnknownAction, close_names
from planner.plan import CandidatePlan, PlanStep, ValidationIssue, ValidationResult, resolve_step

WIDER = 2 * RETRIEVED
"""How many the goal finds once a plan named an action that there is not."""
FOUND_BY_NAME = 5
MOST_UNKNOWN = 8
LONGEST_NAME = 100
"""Unknown names, and characters of each, that are searched for; a model may write any number of any length."""
SHOWN_PRODUCERS = 3

ABOUT_INPUTS = frozenset({"missing_input", "unknown_step", "unknown_output", "type_mismatch"})


class Offer:
    """The actions that one draft is offered, of the catalog as it is when the draft begins.

    The set only grows: what was shown once stays.
    """

    def __init__(self, catalog: ActionCatalog, context: PlanningContext) -> None:
        self.catalog = catalog
        self.view = catalog.view
        self.context = context
        self.excluded = frozenset(context.exclude_actions)
        may_use = allowed_by(context)
        self.allowed = {spec.name: spec for spec in self.view.specs if may_use(spec)}
        wants = context.wants or ()
        words = " ".join([context.goal, *([wants] if isinstance(wants, str) else wants)])
        self.query = f"{words}\n{context.change}" if context.change else words
        self.first: tuple[ActionSpec, ...] = tuple(self._retrieve())
        self.silent = not self.first
        """Whether the search found nothing, in the words that it was given so far."""
        self.further: list[ActionSpec] = []
        self.widened = False
        if context.revises is not None:
            self.include(spec for _, spec in self._calls(context.revises))

    @property
    def specs(self) -> tuple[ActionSpec, ...]:
        """All actions that were offered so far."""
        return (*self.first, *self.further)

    def include(self, specs: Iterable[ActionSpec]) -> None:
        """Offer these from the start too, as far as they are allowed; before the first prompt is built."""
        added = {spec.name: self.allowed[spec.name] for spec in specs if spec.name in self.allowed}
        known = {spec.name for spec in self.first}
        self.first = (*self.first, *(spec for name, spec in added.items() if name not in known))

    def find(self, name: str) -> ActionSpec | None:
        """Return an allowed action by name, offered or not."""
        return self.allowed.get(name)

    def forbidden(self, plan: CandidatePlan) -> list[ValidationIssue]:
        """Return an issue for each step that calls an excluded action."""
        found: list[ValidationIssue] = []
        for step, spec in self._calls(plan) if self.excluded else ():
            if not self.excluded.isdisjoint((spec.name, spec.ref)):
                message = f"{spec.name} must not be used in this plan; reach the goal without it"
                found.append(ValidationIssue("forbidden_action", step.id, "action", message, {"action": spec.name}))
        return found

    def producers(self, plan: CandidatePlan, validation: ValidationResult) -> dict[str, list[Producer]]:
        """Return what could fill the inputs that lack something, by place; their actions are offered from now on."""
        found: dict[str, list[Producer]] = {}
        for place, slot in dict(self._lacking(plan, validation)).items():
            producers = self.view.producers.find(slot)
            allowed = [one for one in producers if one.action.name in self.allowed][:SHOWN_PRODUCERS]
            if allowed:
                found[place] = allowed
                self._add(one.action for one in allowed)
        return found

    def look_for(self, phrases: Sequence[str]) -> None:
        """Search with other words for the same goal, before the first prompt is built."""
        self.query = "\n".join(phrases)
        found = list(self._retrieve())
        self.silent = not found
        self.include(found)

    def widen(self, plan: CandidatePlan, validation: ValidationResult) -> str:
        """Offer more when a plan names what the catalog does not have, once: a second miss is not for want of offer.

        Returns:
            What was searched for and found, to tell; nothing when there was no search.
        """
        self._add(spec for step in plan.steps if (spec := self.find(step.action or "")) is not None)
        unknown = _unknown_names(plan, validation)
        if self.widened or not unknown or len(self.specs) == len(self.allowed):
            return ""
        self.widened = True
        before = len(self.further)
        for name in unknown:
            self._add(self._search(split_name(name.partition("@")[0].rpartition(":")[2]), FOUND_BY_NAME))
            self._add(self.allowed[one] for one in close_names(name, list(self.allowed)))
        self._add(self._search(self.query, WIDER))
        found = len(self.further) - before
        return f"there is no {', '.join(unknown)}; {found} further action{'s' * (found != 1)} offered"

    def _calls(self, plan: CandidatePlan) -> Iterator[tuple[PlanStep, ActionSpec]]:
        for step in plan.steps:
            try:
                yield step, resolve_step(step, self.catalog)
            except (UnknownAction, ValueError):
                continue  # validation tells

    def _retrieve(self) -> Iterable[ActionSpec]:
        if len(self.allowed) <= ALL_ACTIONS:
            return self.allowed.values()
        return self._search(self.query, RETRIEVED)

    def _search(self, words: str, count: int) -> Iterable[ActionSpec]:
        context = self.context
        hits = self.view.search.find(
            words, count, flow_ids=context.flow_ids, identity=context.identity, exclude=context.exclude_actions
        )
        return [hit.action for hit in hits]

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


def _unknown_names(plan: CandidatePlan, validation: ValidationResult) -> list[str]:
    steps = [plan.step(issue.step_id) for issue in validation.issues if issue.kind == "unknown_action"]
    names = (step.action or step.action_ref for step in steps if step is not None)
    return list(dict.fromkeys(name[:LONGEST_NAME] for name in names if name))[:MOST_UNKNOWN]


def _longest(slots: Sequence[Slot], field: str) -> Slot | None:
    """Return the slot that `field` lies in; a slot's name may have dots."""
    fitting = [slot for slot in slots if field == slot.name or field.startswith((f"{slot.name}.", f"{slot.name}["))]
    return max(fitting, key=lambda slot: len(slot.name), default=None)
