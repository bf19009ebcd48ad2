"""What a run gave, for later turns: an artifact in words, and values that a plan may bind."""

import json
from typing import Any

from planner.dialogue.state import Artifact, SessionState
from planner.dialogue.stored import as_json, is_confidential
from planner.dialogue.values import one_line, shown_value
from planner.drafting.confidential import redacted
from planner.errors import UnstorableOutput
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan

MAX_ARTIFACTS = 20
MAX_VALUES = 50
MAX_VALUE = 4_000
"""Bytes of a value, as JSON; a larger one stays with its run."""
MAX_OUTPUTS = 8
"""Of a run, in its artifact."""
SHOWN = 160
"""Characters of a value in an artifact."""


def keep(state: SessionState, goal: str, plan: CandidatePlan | None, result: ExecutionResult) -> None:
    """Add what became of a run to `state`; a run that goes on, or was only previewed, has given nothing yet.

    The same run again takes the place of what it left before, such as when it was retried.
    """
    if result.preview is not None or result.status in {"pending", "running", "waiting", "compensating"}:
        return
    goal = one_line(redacted(goal or (plan.goal if plan else "") or "a plan"))
    artifact = Artifact(run_id=result.run_id, goal=goal, text=f"{goal} → {_outcome(result)}")
    others = [one for one in state.artifacts if not result.run_id or one.run_id != result.run_id]
    state.artifacts = [*others, artifact][-MAX_ARTIFACTS:]
    if not result.ok:
        return
    for name, value in result.outputs.items():
        if (plain := _small(name, value)) is not None:
            state.values.pop(name, None)  # so that the newest stands last
            state.values[name] = plain[0]
    for name in list(state.values)[:-MAX_VALUES]:
        del state.values[name]


def _outcome(result: ExecutionResult) -> str:
    if result.ok:
        told = [
            f"{one_line(name, SHOWN)}: {shown_value(name, value, most=SHOWN)}"
            for name, value in list(result.outputs.items())[:MAX_OUTPUTS]
        ]
        more = len(result.outputs) - MAX_OUTPUTS
        return "; ".join([*told, *([f"and {more} more"] if more > 0 else [])]) or "done"
    if result.validation is not None and not result.validation.ok:
        return f"not run: {_reason(result.validation.summary())}"
    undone = "; some of what it had done could not be undone" if result.compensation_failed else ""
    if result.status == "cancelled":
        return f"cancelled{undone}"
    return f"failed: {_failure(result)}{undone}"


def _failure(result: ExecutionResult) -> str:
    failures = [(event.step_id, event.error) for event in result.errors if event.error]
    failures += [(one.step_id, one.error) for one in result.outcomes.values() if one.failed and one.error]
    if not failures:
        return "no reason is known"
    step, error = next((pair for pair in failures if pair[0]), failures[0])
    return f"step {step}: {_reason(error or '')}" if step else _reason(error or "")


def _reason(text: str) -> str:
    return one_line(redacted(text), 2 * SHOWN)


def _small(name: str, value: object) -> tuple[Any] | None:
    """Return the one value as JSON, when it is plain, small and no secret."""
    try:
        plain = as_json(value)
    except UnstorableOutput:
        return None
    if is_confidential(name, plain) or len(json.dumps(plain, ensure_ascii=False).encode()) > MAX_VALUE:
        return None
    return (plain,)
