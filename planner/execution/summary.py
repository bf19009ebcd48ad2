"""From the state of a run to its result."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from planner.errors import BindingError
from planner.events import ExecutionEvent
from planner.execution.bind import resolve
from planner.execution.blobs import load
from planner.execution.outcome import ExecutionResult, RunStatus, RunUsage, StepOutcome
from planner.execution.request import RunRequest
from planner.execution.state import RunState
from planner.plan import ValidationResult
from planner.plan.bindings import references_in


async def restore(final: Mapping[str, Any], state: RunState) -> None:
    """Fill the state of a run that has ended already, and tell its errors again."""
    for step_id, record in final["records"].items():
        outcome = StepOutcome.from_record(record)
        state.outcomes[step_id] = outcome
        if outcome.status == "succeeded":
            value = await load(outcome, state.blobs, state.codecs)
            state.results[step_id] = (state.specs[step_id], value, state.steps[step_id].for_each is not None)
        elif outcome.failed:
            error = f"{outcome.error_type}: {outcome.error}"
            state.publisher.publish("step_failure", step_id, error=error, message=outcome.status)
    state.stop_reason, state.stop_message = final["stop"], final["stop_message"]


def result_of(request: RunRequest, state: RunState, seconds: float, *, ended: bool) -> ExecutionResult:
    """Gather what became of a run, and tell how it ended."""
    status = _status(state) if ended else "waiting"
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
        errors=list(state.publisher.errors),
        status=status,
        step_outputs={step_id: state.named_outputs(step_id) for step_id in order if step_id in state.results},
        outcomes={step_id: state.outcomes[step_id] for step_id in order if step_id in state.outcomes},
        run_id=request.context.run_id,
        plan_id=request.plan.id,
        usage=usage,
        interrupts=tuple(state.interrupts),
        tags=request.context.tags,
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


def _status(state: RunState) -> RunStatus:
    if state.stop_reason == "cancelled":
        return "cancelled"
    if state.stop_reason == "deadline":
        return "failed"
    failed = any(outcome.failed and not state.steps[step_id].optional for step_id, outcome in state.outcomes.items())
    return "failed" if failed else "succeeded"


def _first_error(state: RunState) -> str:
    if state.stop_reason == "deadline":
        return state.stop_message
    first = next(event for event in state.publisher.errors if event.phase == "step_failure")
    return f"step {first.step_id!r}: {first.error}"


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
