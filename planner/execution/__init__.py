"""From a plan to its result: steps as LangGraph tasks, their outcomes, and runs in the background."""

from planner.execution.background import BackgroundExecutionHandle, BackgroundRuns, OnComplete
from planner.execution.executor import PlanExecutor
from planner.execution.outcome import ExecutionResult, PendingInterrupt, Preview, RunStatus, RunUsage, StepOutcome
from planner.execution.request import RunRequest

__all__ = [
    "BackgroundExecutionHandle",
    "BackgroundRuns",
    "ExecutionResult",
    "OnComplete",
    "PendingInterrupt",
    "PlanExecutor",
    "Preview",
    "RunRequest",
    "RunStatus",
    "RunUsage",
    "StepOutcome",
]
