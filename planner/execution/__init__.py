"""From a plan to its result, in this process: steps as LangGraph tasks, their outcomes, and what is recorded."""

from planner.execution.executor import PlanExecutor
from planner.execution.outcome import ExecutionResult, PendingInterrupt, Preview, RunStatus, RunUsage, StepOutcome
from planner.execution.request import RunRequest
from planner.execution.run_log import RunStores
from planner.execution.run_records import RunEvent, RunRecord, StepState
from planner.execution.runs import Found, Runs, steps_of

__all__ = [
    "ExecutionResult",
    "Found",
    "PendingInterrupt",
    "PlanExecutor",
    "Preview",
    "RunEvent",
    "RunRecord",
    "RunRequest",
    "RunStatus",
    "RunStores",
    "RunUsage",
    "Runs",
    "StepOutcome",
    "StepState",
    "steps_of",
]
