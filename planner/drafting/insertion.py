"""Fills missing inputs of a plan from what the plan, the user or the catalog has, where only one thing can be meant."""

from collections.abc import Callable, Sequence

from planner.catalog import ActionCatalog, ActionSpec, Slot
from planner.drafting.assemble import Assembly
from planner.drafting.reach import Source, Sources, Want, reach
from planner.drafting.request import PlanningContext
from planner.drafting.typed_search import allowed_by, sources_of
from planner.plan import CandidatePlan, Patch, PlanStep, Reference, RepairResult, ValidationIssue
from planner.plan.mending.patches import ABSENT
from planner.plan.mending.view import PlanView


def insert_producers(
    plan: CandidatePlan, issues: Sequence[ValidationIssue], catalog: ActionCatalog, context: PlanningContext
) -> RepairResult:
    """Bind each missing input to the one value of its meaning or name, adding the steps that produce it if need be.

    A value that another step gives or that the user has is taken when it is the only one; else the action that gives
    it, when there is exactly one, it changes nothing, and its own inputs can be had without asking. Everything else
    stays missing: choosing among several would be a guess.
    """
    steps = list(plan.steps)
    patches: list[Patch] = []
    for issue in issues:
        if issue.kind != "missing_input":
            continue
        current = plan.model_copy(update={"steps": tuple(steps)})
        view = PlanView(current, catalog)
        at, spec = view.positions.get(issue.step_id), view.specs.get(issue.step_id)
        slot = None if spec is None else spec.input(issue.field)
        if at is None or slot is None or slot.name in steps[at].inputs:
            continue
        found = _fill(slot, view, issue.step_id, context)
        if found is None:
            continue
        reference, added = found
        reason = f"{slot.name!r} was missing, and only {reference} gives it"
        for step in added:  # before the step that needs them: the last step's outputs may be what the plan returns
            patches.append(Patch(path=("steps", at), before=ABSENT, after=step.to_dict(), reason=reason))
            steps.insert(at, step)
            at += 1
        inputs = {**steps[at].inputs, slot.name: str(reference)}
        steps[at] = steps[at].model_copy(update={"inputs": inputs})
        path = ("steps", at, "inputs", slot.name)
        patches.append(Patch(path=path, before=ABSENT, after=str(reference), reason=reason))
    return RepairResult(plan.model_copy(update={"steps": tuple(steps)}), tuple(patches))


def _fill(
    slot: Slot, view: PlanView, step_id: str, context: PlanningContext
) -> tuple[Reference, Sequence[PlanStep]] | None:
    """Return what fills `slot` and the steps to add for it, or `None` when nothing does, or more than one thing."""
    have = [*sources_of(context), *outputs_of(view, view.behind(step_id))]
    there = Sources(have).find(slot)
    if there:
        return (there[0].reference, ()) if len(there) == 1 else None
    index = view.catalog.view.producers
    allowed = _reading(allowed_by(context))
    producers = {producer.action.ref: producer for producer in index.find(slot) if allowed(producer.action)}
    if len(producers) != 1:
        return None
    reached = reach(index.network, have, [Want(slot.name, (slot,))], allowed=allowed, ask=False)
    choice = reached.wants.get(slot.name)
    if choice is None:
        return None
    assembly = Assembly(index, Sources(have), taken_ids={step.id for step in view.plan.steps})
    return assembly.want(choice, reached), assembly.steps


def outputs_of(view: PlanView, without: set[str]) -> list[Source]:
    """Return what the steps of a plan give, except those `without`; what a `for_each` gives are lists."""
    sources: list[Source] = []
    for step in view.plan.steps:
        spec = view.specs[step.id]
        if spec is None or step.id in without:
            continue
        for slot in spec.outputs:
            given = slot
            if step.for_each is not None:
                schema = {"type": "array", "items": dict(slot.schema), "$defs": slot.schema.get("$defs", {})}
                given = Slot(slot.name, schema)
            sources.append(Source(Reference(step.id, (slot.name,)), given))
    return sources


def _reading(allowed: Callable[[ActionSpec], bool]) -> Callable[[ActionSpec], bool]:
    """Narrow to actions that change nothing: adding an effect is not for a repair to decide."""
    return lambda spec: spec.policy.effect == "read" and not spec.policy.approval and allowed(spec)
