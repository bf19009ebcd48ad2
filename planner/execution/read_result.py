"""The result of a run as far as its record tells it: without the outputs of its steps, which are in the checkpoints."""

from planner.events import ExecutionEvent
from planner.execution.outcome import ExecutionResult
from planner.execution.people import read_question
from planner.execution.run_records import RunRecord


def result_of_record(record: RunRecord) -> ExecutionResult:
    """Return what a record says of how its run ended, or what it waits for."""
    phase = "cancelled" if record.status == "cancelled" else "failure"
    failed = [(None, error) for error in record.errors] or [
        (step_id, f"{step.error_type}: {step.error}") for step_id, step in record.steps.items() if step.error_type
    ]
    errors = [
        ExecutionEvent(
            "step_failure" if step_id else phase, step_id, error=error, run_id=record.id, time=record.finished_at
        )
        for step_id, error in failed
    ]
    asked = [read_question(one["id"], one["value"], one["step_id"]) for one in record.questions]
    return ExecutionResult(
        ok=record.status == "succeeded",
        outputs=dict(record.outputs),
        errors=errors if record.status != "succeeded" else [],
        status=record.status,
        run_id=record.id,
        plan_id=record.plan_id,
        usage=record.usage,
        compensation=record.compensation,
        interrupts=[question for question in asked if question.id not in record.answers] if not record.ended else (),
        tags=tuple(record.tags),
    )
