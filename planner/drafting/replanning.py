"""Planning on after a failure: the rest of a plan, drafted over what is done as if its outputs were keys of the user.

With a model, it is told what failed, what was planned and what could give the missing values. Without one, the step
that failed is replaced by what a search over types finds for its outputs, and the steps behind it stay as they were.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from planner.catalog import ActionSpec, Slot
from planner.drafting.drafter import Drafter
from planner.drafting.request import PlanningContext
from planner.drafting.signatures import slot_type
from planner.drafting.typed_search import TypedSearch, allowed_by
from planner.drafting.wire import to_wire
from planner.plan import After, CandidatePlan, PlanStep, Reference, Template, parse_text, resolve_step
from planner.plan.bindings import references_in, write_text
from planner.plan.graph import step_references
from planner.plan.replanning import ReplanRequest, stronger
from skills import instruction

REPLANNING = "replanning"
"""The skill that says how."""

SHOWN_PRODUCERS = 5
"""Of each output of the step that failed."""

SHOWN_PLAN = 20_000
"""Characters."""

Swap = Callable[[Reference], Reference]


class DraftReplanner:
    """A `Replanner` that drafts: with the drafter's model, or by types without one."""

    def __init__(self, drafter: Drafter) -> None:
        self.drafter = drafter

    async def __call__(self, request: ReplanRequest, /) -> CandidatePlan | None:
        """Return the steps that are still to be done, or `None` when no way was found."""
        situation = _Situation.of(request)
        if self.drafter.llm is not None:
            told = instruction(self.drafter.skills, REPLANNING)
            context = situation.context(_goal(request), instruction=told, exclude_actions=situation.strong)
            result = await self.drafter.draft(context)
            return None if result.plan is None else situation.tail(result.plan)
        search = TypedSearch(request.catalog, self.drafter.limits)
        return await asyncio.to_thread(_replaced, search, situation)


@dataclass(frozen=True, slots=True)
class _Situation:
    """What is done, what failed, and under which keys the outputs of what is done can be bound."""

    request: ReplanRequest
    specs: Mapping[str, ActionSpec]
    keys: Mapping[str, tuple[Reference, Slot]]
    """Key → the output of a step that is done."""

    @classmethod
    def of(cls, request: ReplanRequest) -> "_Situation":
        specs = {step.id: resolve_step(step, request.catalog) for step in request.plan.steps}
        outputs = [(step, slot) for step in _steps(request, request.done) for slot in specs[step.id].outputs]
        names = [slot.name for _, slot in outputs]
        keys: dict[str, tuple[Reference, Slot]] = {}
        for step, slot in outputs:
            plain = slot.name not in request.user_inputs and names.count(slot.name) == 1
            key = slot.name if plain and slot.name != "result" else f"{step.id}_{slot.name}"
            while key in keys or key in request.user_inputs:
                key += "_"
            about = f"{slot.name} of {step.id} ({specs[step.id].name}), which is done"
            named = replace(_given(step, slot), description=about, name=key if slot.name == "result" else slot.name)
            keys[key] = (Reference(step.id, (slot.name,)), named)
        return cls(request, specs, keys)

    def context(self, goal: str, **options: Any) -> PlanningContext:
        """Return the request for a plan of the rest."""
        request = self.request
        return PlanningContext(
            goal=goal,
            user_inputs=request.user_inputs,
            external_slots={key: slot for key, (_, slot) in self.keys.items()},
            memory_snippets=[request.failure, *self._missing(), *_described(request)],
            allow_partial_plans=False,
            flow_ids=self.groups,
            identity=request.identity,
            **options,
        )

    @property
    def groups(self) -> list[str]:
        """Only those of the plan that failed: whoever asked for it may have kept others out."""
        return sorted({spec.flow_id for spec in self.specs.values() if spec.flow_id is not None})

    @property
    def strong(self) -> tuple[str, ...]:
        """The actions that change more than the steps of the plan do: nobody has agreed to them."""
        return tuple(spec.ref for spec in stronger(self.request.catalog.view.specs, self.specs.values()))

    def tail(self, drafted: CandidatePlan, taken: Iterable[str] = ()) -> CandidatePlan:
        """Return a drafted plan with the real names: of the outputs that it binds as keys, and ids that are free."""
        used = {*self.request.done, *taken}
        ids: dict[str, str] = {}
        for step in drafted.steps:
            ids[step.id] = _free(step.id, used)
            used.add(ids[step.id])

        def swap(reference: Reference) -> Reference:
            if reference.root == "user" and reference.path and reference.path[0] in self.keys:
                real, _ = self.keys[str(reference.path[0])]
                return Reference(real.root, (*real.path, *reference.path[1:]))
            return Reference(ids.get(reference.root, reference.root), reference.path)

        steps = [rebound(step, swap).model_copy(update={"id": ids[step.id]}) for step in drafted.steps]
        return CandidatePlan(steps=tuple(steps), outputs=_swapped(drafted.outputs, swap), goal=drafted.goal)

    def _missing(self) -> list[str]:
        """Say what could give the outputs of the step that failed."""
        spec, lines = self.specs[self.request.failed_step], list[str]()
        excluded = (spec.name, *self.strong)
        allowed = allowed_by(PlanningContext(goal="", identity=self.request.identity, exclude_actions=excluded))
        for slot in spec.outputs:
            found = self.request.catalog.producers(slot, flow_ids=self.groups)
            likely = [one for one in found if allowed(one.action)][:SHOWN_PRODUCERS]
            lines += [f"{one.action.name} gives {one.output.name}: {slot_type(one.output)}" for one in likely]
        return lines


def rebound(step: PlanStep, swap: Swap) -> PlanStep:
    """Return a step with `swap` applied to every binding, and to the steps that it comes after."""
    when = step.when
    if when is not None:
        when = when.model_copy(update={"ref": _swapped(when.ref, swap), "value": _swapped(when.value, swap)})
    after = tuple(After(step=swap(Reference(one.step)).root, required=one.required) for one in step.after)
    changes = {"inputs": _swapped(step.inputs, swap), "for_each": _swapped(step.for_each, swap)}
    return step.model_copy(update={**changes, "when": when, "after": after})


def _swapped(value: Any, swap: Swap) -> Any:
    match value:
        case str():
            parsed = parse_text(value)
            if isinstance(parsed, Reference):
                return str(swap(parsed))
            if isinstance(parsed, Template):
                return write_text([part if isinstance(part, str) else swap(part) for part in parsed.parts])
            return value
        case Mapping():
            return {key: _swapped(part, swap) for key, part in cast("Mapping[str, Any]", value).items()}
        case list() | tuple():
            return [_swapped(part, swap) for part in cast("Sequence[Any]", value)]
        case _:
            return value


def _replaced(search: TypedSearch, situation: _Situation) -> CandidatePlan | None:
    """Return the rest of the plan with other steps in the place of the one that failed, or `None`."""
    request = situation.request
    failed = request.plan.step(request.failed_step)
    if failed is None or failed.for_each is not None:
        return None
    rest = [step for step in request.plan.steps if step.id not in request.done and step.id != failed.id]
    needs = _needs(situation, rest)
    if not needs:
        return None
    wants = {f"want_{number}": slot for number, slot in enumerate(needs.values())}
    excluded = (situation.specs[failed.id].name, *situation.strong)
    found = search.plan(situation.context(_goal(request), wants=wants, exclude_actions=excluded))
    if found.plan is None:
        return None
    taken = [step.id for step in rest]
    tail = situation.tail(found.plan, taken)
    given = {need: parse_text(tail.outputs[f"want_{number}"]) for number, need in enumerate(needs)}

    def swap(reference: Reference) -> Reference:
        head = _head(situation, reference)
        new = given.get(head) if reference.root == failed.id else None
        return (
            Reference(new.root, (*new.path, *reference.path[len(head) :])) if isinstance(new, Reference) else reference
        )

    steps = [*tail.steps, *(rebound(_not_after(step, failed.id), swap) for step in rest)]
    outputs = _swapped(request.plan.outputs, swap)
    if not outputs and request.plan.steps[-1].id == failed.id:
        outputs = {head[0] if head else "result": str(new) for head, new in given.items()}
    return CandidatePlan(steps=tuple(steps), outputs=outputs, goal=request.plan.goal)


def _needs(situation: _Situation, rest: Sequence[PlanStep]) -> dict[tuple[str, ...], Slot]:
    """Return which outputs of the step that failed are needed, and what they are; `()` is its whole value."""
    request = situation.request
    spec = situation.specs[request.failed_step]
    needs: dict[tuple[str, ...], Slot] = {}
    places = [(location, reference) for step in rest for location, reference in step_references(step)]
    places += [(("outputs", *location), reference) for location, reference in references_in(request.plan.outputs)]
    if not any(reference.root == request.failed_step for _, reference in places):
        places = [(("outputs", slot.name), Reference(request.failed_step, (slot.name,))) for slot in spec.outputs]
    for location, reference in places:
        head = _head(situation, reference)
        if reference.root != request.failed_step or head in needs:
            continue
        slot = (spec.output(head[0]) if head else spec.returns) or Slot("result")
        # a plain return value has no name of its own; what it is used as tells more
        name = str(location[1]) if slot.name == "result" and len(location) > 1 else slot.name
        if name == "result" and slot.semantic is None:
            return {}
        needs[head] = replace(slot, name=name, adapter=None)
    return needs


def _head(situation: _Situation, reference: Reference) -> tuple[str, ...]:
    """Return the name of the output that a reference to the failed step starts with; nothing for the whole value."""
    name = str(reference.path[0]) if reference.path else ""
    return (name,) if situation.specs[situation.request.failed_step].output(name) else ()


def _not_after(step: PlanStep, failed: str) -> PlanStep:
    return step.model_copy(update={"after": tuple(one for one in step.after if one.step != failed)})


def _given(step: PlanStep, slot: Slot) -> Slot:
    """Return what an output is for others: of a mapped step, a list."""
    if step.for_each is None:
        return slot
    schema = {"type": "array", "items": dict(slot.schema), "$defs": slot.schema.get("$defs", {})}
    return Slot(slot.name, schema)


def _steps(request: ReplanRequest, step_ids: Iterable[str]) -> list[PlanStep]:
    wanted = set(step_ids)
    return [step for step in request.plan.steps if step.id in wanted]


def _goal(request: ReplanRequest) -> str:
    return request.plan.goal or f"Give {', '.join(request.plan.outputs) or 'what the plan gives'}"


def _described(request: ReplanRequest) -> list[str]:
    plan = json.dumps(to_wire(request.plan), ensure_ascii=False, default=str)
    return [f"Done: {', '.join(request.done) or 'nothing'}"[:SHOWN_PLAN], f"The plan: {plan}"[:SHOWN_PLAN]]


def _free(step_id: str, used: set[str]) -> str:
    number, found = 1, step_id
    while found in used:
        number += 1
        found = f"{re.sub(r'_[0-9]+$', '', step_id)[:56]}_{number}"
    return found
