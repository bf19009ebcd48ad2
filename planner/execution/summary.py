"""From the state of a run to its result."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from planner.catalog import to_plain
from planner.errors import BindingError
from planner.events import ExecutionEvent
from planner.execution.bind import resolve
from planner.execution.blobs import load
from planner.execution.kept import carry
from planner.execution.outcome import (
    RECORD_VERSION,
    ExecutionResult,
    RunStatus,
    RunUsage,
    StepOutcome,
    UndoOutcome,
)
from planner.execution.request import RunRequest
from planner.execution.state import Called, RunState
from planner.plan import CandidatePlan, PlanStep, ValidationResult, resolve_step
from planner.plan.bindings import references_in

LATEST = datetime.max.replace(tzinfo=UTC)


def final_record(state: RunState, start: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of a run that has ended; `start` is how it was started."""
    record: dict[str, Any] = {
        "v": RECORD_VERSION,
        "stop": state.stop_reason,
        "stop_message": state.stop_message,
        "records": {step_id: state.outcomes[step_id].to_record() for step_id in state.graph.order},
        "start": start,
    }
    if state.revision:
        record |= {"plan": to_plain(state.plan.to_dict()).value, "revision": state.revision}
    if state.carried:
        record["carried"] = {step_id: outcome.to_record() for step_id, outcome in state.carried.items()}
    if state.superseded:
        record["superseded"] = {
            name: {"step": to_plain(one.step.to_dict()).value, "outcome": one.outcome.to_record()}
            for name, one in state.superseded.items()
        }
    if state.compensation:
        record["compensation"] = [undo.to_record() for undo in state.compensation.values()]
    if state.undone:
        record["undone"] = dict(state.undone)
    return record


async def restore(final: Mapping[str, Any], state: RunState) -> None:
    """Fill the state of a run that has ended already, and tell its errors again."""
    if "plan" in final:
        state.adopt(CandidatePlan.from_dict(final["plan"]), final["revision"])
    for record in final.get("compensation", ()):
        undo = UndoOutcome.from_record(record)
        state.compensation[undo.step_id] = undo
    for step_id, record in final["records"].items():
        outcome = StepOutcome.from_record(record)
        state.outcomes[step_id] = outcome
        if outcome.status == "succeeded":
            value = await load(outcome, state.blobs, state.codecs)
            state.results[step_id] = (state.specs[step_id], value, state.steps[step_id].for_each is not None)
        elif outcome.failed:
            error = f"{outcome.error_type}: {outcome.error}"
            state.publisher.publish("step_failure", step_id, error=error, message=outcome.status)
    for record in final.get("carried", {}).values():
        await carry(state, StepOutcome.from_record(record))
    for name, record in final.get("superseded", {}).items():
        step = PlanStep.from_dict(record["step"])
        outcome = StepOutcome.from_record(record["outcome"])
        state.superseded[name] = Called(step, resolve_step(step, state.catalog), outcome)
    state.stop_reason, state.stop_message = final["stop"], final["stop_message"]


def result_of(request: RunRequest, state: RunState, seconds: float, *, ended: bool) -> ExecutionResult:
    """Gather what became of a run, and tell how it ended."""
    status = status_of(state) if ended else "waiting"
    outputs = _outputs(state)
    publish = state.publisher.publish
    match status:
        case "succeeded":
            publish("success")
        case "cancelled":
            publish("cancelled", error=f"Cancelled: {state.stop_message}")
        case "failed":
            publish("failure", error=_first_error(state))
        case _:
            pass
    usage = RunUsage(
        steps=sum(outcome.status != "skipped" for outcome in state.outcomes.values()),
        attempts=state.attempts,
        seconds=seconds,
        amount=state.amount,
        tokens=state.tokens,
    )
    order = state.graph.order
    return ExecutionResult(
        ok=status == "succeeded",
        outputs=outputs,
        errors=_errors(state),
        status=status,
        step_outputs={step_id: state.named_outputs(step_id) for step_id in order if step_id in state.results},
        outcomes={step_id: state.outcomes[step_id] for step_id in order if step_id in state.outcomes},
        run_id=request.context.run_id,
        plan_id=request.plan.id,
        usage=usage,
        interrupts=tuple(state.interrupts),
        tags=request.context.tags,
        compensation=dict(state.compensation),
    )


def not_advanced(
    request: RunRequest, status: RunStatus, error: str, validation: ValidationResult | None = None
) -> ExecutionResult:
    """Return the result of a run that was not advanced, and why."""
    phase = "cancelled" if status == "cancelled" else "failure"
    event = ExecutionEvent(phase, error=error, seq=1, run_id=request.context.run_id, time=datetime.now(UTC))
    return ExecutionResult(
        ok=False,
        outputs={},
        errors=[event],
        status=status,
        run_id=request.context.run_id,
        plan_id=request.plan.id,
        validation=validation,
        tags=request.context.tags,
    )


def status_of(state: RunState) -> RunStatus:
    """Return how a run ends whose steps are settled: a stop that came when all was done changes nothing."""
    if state.stop_reason in ("cancelled", "deadline") and disturbed(state):
        return "cancelled" if state.stop_reason == "cancelled" else "failed"
    failed = any(outcome.failed and not state.steps[step_id].optional for step_id, outcome in state.outcomes.items())
    return "failed" if failed else "succeeded"


def disturbed(state: RunState) -> bool:
    """Tell whether a step failed that is not optional, or was stopped, or did not begin because the run was."""
    return any(
        one.reason == "stopped" or (one.failed and (one.status != "failed" or not state.steps[step_id].optional))
        for step_id, one in state.outcomes.items()
    )


def _first_error(state: RunState) -> str:
    if state.stop_reason == "deadline":
        return state.stop_message
    failed = (one for one in state.outcomes.values() if one.failed and not state.steps[one.step_id].optional)
    first = min(failed, key=lambda one: one.finished_at or LATEST)
    return f"step {first.step_id!r}: {first.error_type}: {first.error}"


def _errors(state: RunState) -> list[ExecutionEvent]:
    """Return what was told of errors, and before it the failures that an earlier life of the run has told."""
    told = {event.step_id for event in state.publisher.errors if event.phase == "step_failure"}
    earlier = [
        ExecutionEvent(
            "step_failure",
            one.step_id,
            message=one.status,
            error=f"{one.error_type}: {one.error}",
            run_id=state.context.run_id,
            time=one.finished_at,
        )
        for one in state.outcomes.values()
        if one.failed and one.step_id not in told
    ]
    return [*earlier, *state.publisher.errors]


def _outputs(state: RunState) -> dict[str, Any]:
    """Return what the plan declares, else the outputs of its last step; what could not be had is left out."""
    plan = state.plan
    if not plan.outputs:
        last = plan.steps[-1].id
        return state.named_outputs(last) if last in state.results else {}
    outputs: dict[str, Any] = {}
    for name, value in plan.outputs.items():
        roots = {reference.root for _, reference in references_in(value)} - {"user"}
        if roots <= state.results.keys():
            try:
                outputs[name] = resolve(value, state.bindings, None, ("outputs", name))
            except BindingError as error:
                state.publisher.publish("failure", error=f"BindingError: {error}")
    return outputs
