"""Planning without a language model: over types from what one has to what one wants, and from words to a draft."""

from collections.abc import Callable, Mapping, Sequence

from planner.catalog import ActionCatalog, ActionSpec, SearchHit, Slot, as_slot
from planner.catalog.catalog import in_group
from planner.catalog.words import clauses
from planner.drafting.assemble import Assembly
from planner.drafting.observed import schema_of
from planner.drafting.reach import Source, Sources, Want, reach
from planner.drafting.request import Candidate, PlanningContext, PlanResult
from planner.events import PlanningEvent
from planner.limits import Limits
from planner.plan import CandidatePlan, Reference, ValidationIssue, ValidationResult, estimate, validate


class TypedSearch:
    """Plans over typed inputs and outputs.

    With `context.wants` it is sound (what it finds validates) and complete for goals that a plan without cycles reaches
    by links of meaning, name or record shape. What it cannot produce from what the user gave it asks for, as
    `${user.key}`; wants that no action gives are `unreachable`. Without wants it only drafts, from words.

    Args:
        catalog: What plans may be made of.
        limits: What the plan is validated against.
    """

    def __init__(self, catalog: ActionCatalog, limits: Limits | None = None) -> None:
        self.catalog = catalog
        self.limits = limits or Limits()

    def plan(self, context: PlanningContext) -> PlanResult:
        """Plan for `context`; the result has a plan when all wants can be reached, perhaps with questions open."""
        events = [PlanningEvent("start", -1, context.goal)]
        if context.wants:
            plan, unreachable = self._typed(context, wants_of(context))
        else:
            plan, unreachable = self._from_words(context), []
        if not plan.steps:
            return _nothing(context, plan, unreachable, events)
        validation = self._validate(plan, context)
        shown = plan.to_dict()
        events.append(PlanningEvent("validation", 0, plan_dict=shown, validation=validation))
        accepted = validation.ok or (context.allow_partial_plans and validation.is_partial_ok())
        message = None if accepted else validation.summary()
        if unreachable:
            accepted, message = False, f"no action gives {', '.join(unreachable)}"
        phase = "success" if accepted else "failure"
        events.append(PlanningEvent(phase, 0, message, plan_dict=shown, validation=validation))
        return PlanResult(
            plan=plan if accepted else None,
            validation=validation,
            events=events,
            candidates=[Candidate(plan=plan, validation=validation, estimate=estimate(plan, self.catalog))],
            draft=not context.wants,
            unreachable=unreachable,
        )

    def _typed(self, context: PlanningContext, wants: Sequence[Want]) -> tuple[CandidatePlan, list[str]]:
        index = self.catalog.view.producers
        have = sources_of(context)
        reached = reach(index.network, have, wants, allowed=allowed_by(context), direct=False)
        assembly = self._assembly(context, have)
        outputs = {name: str(assembly.want(choice, reached)) for name, choice in reached.wants.items()}
        plan = CandidatePlan(steps=tuple(assembly.steps), goal=context.goal, outputs=outputs)
        return plan, reached.unreachable

    def _from_words(self, context: PlanningContext) -> CandidatePlan:
        """Take the best action for each part of the goal, in its order, and reach what each requires.

        Only actions that read are added to those that the words name: nobody has asked for more.
        """
        chosen = self._chosen(context)
        refs, may_use = {spec.ref for spec in chosen}, allowed_by(context)

        def allowed(spec: ActionSpec) -> bool:
            harmless = spec.policy.effect == "read" and not spec.policy.approval
            return may_use(spec) and (harmless or spec.ref in refs)

        have = sources_of(context)
        assembly = self._assembly(context, have)
        for spec in chosen:
            assembly.sources = Sources(have)
            want = Want(spec.name, (), action=spec)
            reached = reach(self.catalog.view.producers.network, have, [want], allowed=allowed)
            step_id = assembly.call(spec, reached)
            have = [*(Source(Reference(step_id, (slot.name,)), slot) for slot in spec.outputs), *have]
        return CandidatePlan(steps=tuple(assembly.steps), goal=context.goal)

    def _chosen(self, context: PlanningContext) -> list[ActionSpec]:
        parts = clauses(context.goal)
        likely = {hit.action.ref for hit in self._search(context.goal, 2 * len(parts) + 8, context)}
        chosen: dict[str, ActionSpec] = {}
        for part in parts if likely else ():
            found = self._search(part, 5, context)
            best = next((hit.action for hit in found if hit.action.ref in likely), None)
            if best is not None:
                chosen[best.ref] = best
        return list(chosen.values())

    def _search(self, words: str, count: int, context: PlanningContext) -> list[SearchHit]:
        return self.catalog.search(
            words, count, flow_ids=context.flow_ids, identity=context.identity, exclude=context.exclude_actions
        )

    def _assembly(self, context: PlanningContext, have: Sequence[Source]) -> Assembly:
        keys = {*context.user_inputs, *context.external_slots}
        preferred = context.preferred_external_keys or ()
        return Assembly(self.catalog.view.producers, Sources(have), taken_keys=keys, preferred=preferred)

    def _validate(self, plan: CandidatePlan, context: PlanningContext) -> ValidationResult:
        return validate(
            plan,
            self.catalog,
            context.user_inputs,
            external_slots=context.external_slots,
            flow_ids=context.flow_ids,
            identity=context.identity,
            limits=self.limits,
        )


def allowed_by(context: PlanningContext) -> Callable[[ActionSpec], bool]:
    """Return the test for actions that a request may use: of its groups, for its identity's roles, not excluded."""
    groups = None if context.flow_ids is None else set(context.flow_ids)
    excluded = frozenset(context.exclude_actions)

    def allowed(spec: ActionSpec) -> bool:
        return in_group(spec, groups) and spec.allows(context.identity) and excluded.isdisjoint((spec.name, spec.ref))

    return allowed


def sources_of(context: PlanningContext) -> list[Source]:
    """Return the keys that the user has: values that are known, and slots that will be."""
    given = [
        Source(Reference("user", (key,)), Slot(key, schema_of(value)), value)
        for key, value in context.user_inputs.items()
    ]
    coming = [
        Source(Reference("user", (key,)), as_slot(key, slot))
        for key, slot in context.external_slots.items()
        if key not in context.user_inputs
    ]
    return given + coming


def wants_of(context: PlanningContext) -> list[Want]:
    """Read the wants: a name is that of an output, of an action that gives it, or of a semantic type."""
    given = context.wants or ()
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Mapping):
        slots = [as_slot(name, value) for name, value in given.items()]
        return [Want(name, _meanings(slot)) for name, slot in zip(given, slots, strict=True)]
    return [Want(name, _meanings(Slot(name))) for name in given]


def _meanings(slot: Slot) -> tuple[Slot, ...]:
    if slot.semantic is not None:
        return (slot,)
    return (slot, Slot(slot.name, slot.schema, semantic=slot.name))


def _nothing(
    context: PlanningContext, plan: CandidatePlan, unreachable: list[str], events: list[PlanningEvent]
) -> PlanResult:
    """Return the result for a goal that no action serves."""
    if unreachable:
        message = f"no action gives {', '.join(unreachable)}"
    elif plan.outputs:
        message = f"all that is wanted is there already: {', '.join(plan.outputs.values())}"
    else:
        message = "no action of the catalog fits the words of the goal"
    validation = ValidationResult.of([ValidationIssue("empty_plan", "", "steps", message)])
    events.append(PlanningEvent("failure", 0, message, validation=validation))
    return PlanResult(plan=None, validation=validation, events=events, draft=not context.wants, unreachable=unreachable)
