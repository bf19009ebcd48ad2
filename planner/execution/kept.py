"""Outcomes of an earlier attempt of a run: which of them may be kept, and whether one still holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.catalog import ActionSpec, to_plain
from planner.execution.bind import bind_inputs, fingerprint
from planner.execution.blobs import load
from planner.execution.outcome import Left, StepOutcome, UndoOutcome
from planner.execution.state import Called, RunState
from planner.plan import PlanStep, resolve_step


def kept_from(final: Mapping[str, Any]) -> dict[str, StepOutcome]:
    """Return what a later attempt may keep of a run's final record: what succeeded and was not undone.

    Of a mapped step that failed, it is the step's outcome with its items; those that succeeded may be kept.
    """
    touched = _touched(final)
    outcomes = (StepOutcome.from_record(record) for record in _records(final).values())
    return {
        one.step_id: one
        for one in outcomes
        if one.step_id not in touched
        and (one.status == "succeeded" or any(item.status == "succeeded" for item in one.items))
    }


def left_from(final: Mapping[str, Any] | None) -> dict[str, Left]:
    """Return what a run's final record says is there, or may be, besides what may be kept.

    Those are calls of which nobody knows whether they took effect, effects whose undo failed, and steps that a replan
    took out of the plan. What runs again is another matter; what does not is still there (`carry_over`).
    """
    if final is None:
        return {}
    undos = {record["step_id"]: UndoOutcome.from_record(record) for record in final.get("compensation", ())}
    found: dict[str, Left] = {}
    records = _records(final)
    for step_id, record in records.items():
        outcome, undo = StepOutcome.from_record(record), undos.get(step_id)
        items = {at for at, item in enumerate(outcome.items) if item.uncertain}
        one = Left(outcome=outcome, undo=undo)
        if (undo is not None and undo.status == "undone") or not (one.tried or items or outcome.uncertain):
            continue
        items |= set(undo.items) if undo is not None and one.tried else set()
        found[step_id] = replace(one, calls=frozenset(f"{step_id}[{at}]" for at in items) or frozenset({step_id}))
    for name, record in final.get("superseded", {}).items():
        if records.get(record["outcome"]["step_id"]) is record["outcome"]:
            continue
        if (undo := undos.get(name)) is None or undo.status != "undone":
            found[name] = Left(outcome=StepOutcome.from_record(record["outcome"]), undo=undo, step=record["step"])
    return found


async def carry_over(state: RunState) -> dict[str, UndoOutcome]:
    """Take over what an earlier attempt did in the steps that this one, which does not succeed, did not get to.

    The effects are still there: they are undone and reported as those of this attempt, and a later one may keep them.

    Returns:
        Of the steps among them whose undo was called before and has not taken back everything: how that went.
    """
    tried: dict[str, UndoOutcome] = {}
    for step_id, left in state.left.items():
        if left.step is not None:
            step = PlanStep.from_dict(left.step)
            state.superseded.setdefault(step_id, Called(step, resolve_step(step, state.catalog), left.outcome))
            if left.undo is not None and left.tried:
                tried[step_id] = left.undo
    for step_id, outcome in state.outcomes.items():
        spec, left = state.specs[step_id], state.left.get(step_id)
        if left is not None and spec.policy.effect == "read" and spec.policy.undo is None:
            left = None
        before = state.kept.get(step_id) or (left and left.outcome)
        if before is None:
            continue
        if outcome.status == "skipped" and not outcome.items:
            await carry(state, before)
            if left is not None and left.undo is not None and left.tried:
                tried[step_id] = left.undo
        elif len(outcome.items) == len(before.items) and any(item.status == "skipped" for item in outcome.items):
            pairs = zip(outcome.items, before.items, strict=True)
            items = [past if item.status == "skipped" else item for item, past in pairs]
            state.carried[step_id] = replace(outcome, items=items)
    return tried


async def carry(state: RunState, outcome: StepOutcome) -> None:
    """Let what an earlier attempt did in a step stand beside what became of the step in this one."""
    step_id = outcome.step_id
    state.carried[step_id] = outcome
    if outcome.status == "succeeded":
        value = await load(outcome, state.blobs, state.codecs)
        state.results[step_id] = (state.specs[step_id], value, state.steps[step_id].for_each is not None)


def kept_call(state: RunState, step_id: str, ref: str, inputs_hash: str, index: int | None) -> StepOutcome | None:
    """Return the earlier outcome of a step, or of one item, if the same action was given the same inputs."""
    known = state.kept.get(step_id)
    if known is None:
        return None
    if index is not None:
        item = known.items[index] if index < len(known.items) else None
        return item if item is not None and _holds(item, ref, inputs_hash) else None
    if not _holds(known, ref, inputs_hash):
        return None
    state.taken.add(step_id)
    return known


def kept_items(state: RunState, step: PlanStep, spec: ActionSpec, items: Sequence[Any]) -> StepOutcome | None:
    """Return the earlier outcome of a mapped step, if the same action was given the same inputs for every item.

    Raises:
        BindingError: the inputs of an item cannot be bound.
    """
    known = state.kept.get(step.id)
    if known is None or known.items:
        return None
    hashes = (bind_inputs(step, spec, state.bindings, item, state.secrets)[1] for item in items)
    if not _holds(known, spec.ref, items_hash(hashes)):
        return None
    state.taken.add(step.id)
    return known


def items_hash(hashes: Iterable[str | None]) -> str:
    """Return the hash of a mapped step's inputs from those of its items."""
    return fingerprint(list(hashes))


def recordable(items: Sequence[StepOutcome], most: int) -> tuple[StepOutcome, ...]:
    """Return the outcomes of items as they are recorded with their step: above `most` bytes together, not the values.

    An item whose value is lost counts as `unknown`: neither can it be kept, nor can its undo be given its outputs.
    """
    if to_plain([item.value for item in items]).size <= most:
        return tuple(items)
    lost = "its value was too large to be recorded with those of the other items"
    return tuple(
        replace(item, status="unknown", value=None, blobs=(), error_type="LimitExceeded", error=lost)
        if item.status == "succeeded"
        else item
        for item in items
    )


def _records(final: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what became of each step, in the attempt that got to it last; an attempt begins with the first plan.

    So of a step that only a replan took out of the plan, it is what had become of it by then.
    """
    touched, superseded = _touched(final), final.get("superseded", {})
    first = {one["outcome"]["step_id"]: one["outcome"] for name, one in superseded.items() if name not in touched}
    return {**first, **final["records"], **final.get("carried", {})}


def _touched(final: Mapping[str, Any]) -> set[str]:
    """Return the steps that were undone, or not quite: an undo that failed may have undone a part."""
    undos = final.get("compensation", ())
    return {undo["step_id"] for undo in undos if undo["status"] == "undone" or undo["attempts"]}


def _holds(known: StepOutcome, ref: str, inputs_hash: str) -> bool:
    return known.status == "succeeded" and known.ref == ref and known.inputs_hash == inputs_hash
