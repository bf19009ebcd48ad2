"""Outcomes of an earlier attempt of a run: which of them may be kept, and whether one still holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.catalog import ActionSpec, to_plain
from planner.execution.bind import bind_inputs, fingerprint
from planner.execution.outcome import StepOutcome
from planner.execution.state import RunState
from planner.plan import PlanStep


def kept_from(final: Mapping[str, Any]) -> dict[str, StepOutcome]:
    """Return what a later attempt may keep of a run's final record: what succeeded and was not undone.

    Of a mapped step that failed, it is the step's outcome with its items; those that succeeded may be kept.
    """
    # an undo that failed may have undone a part
    touched = {
        undo["step_id"] for undo in final.get("compensation", ()) if undo["status"] == "undone" or undo["attempts"]
    }
    outcomes = (StepOutcome.from_record(record) for record in final["records"].values())
    return {
        one.step_id: one
        for one in outcomes
        if one.step_id not in touched
        and (one.status == "succeeded" or any(item.status == "succeeded" for item in one.items))
    }


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


def _holds(known: StepOutcome, ref: str, inputs_hash: str) -> bool:
    return known.status == "succeeded" and known.ref == ref and known.inputs_hash == inputs_hash
