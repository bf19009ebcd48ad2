"""From a plan to its result: steps as LangGraph tasks, their outcomes, runs in the background, and runs read back."""

from planner.execution.background import BackgroundExecutionHandle, BackgroundRuns, OnComplete
from planner.execution.executor import PlanExecutor
from planner.execution.outcome import ExecutionResult, PendingInterrupt, Preview, RunStatus, RunUsage, StepOutcome
from planner.execution.request import RunRequest
from planner.execution.run_records import RunEvent, RunRecord, StepState
from planner.execution.runs import Found, Runs, steps_of

__all__ = [
    "BackgroundExecutionHandle",
    "BackgroundRuns",
    "ExecutionResult",
    "Found",
    "OnComplete",
    "PendingInterrupt",
    "PlanExecutor",
    "Preview",
    "RunEvent",
    "RunRecord",
    "RunRequest",
    "RunStatus",
    "RunUsage",
    "Runs",
    "StepOutcome",
    "StepState",
    "steps_of",
]
