"""Runs that survive: started, found again, followed, answered, and taken over from processes that died."""

from planner.runs.access import RunAccess, SecretProvider
from planner.runs.engine import Advance, ExecutionEngine, LocalEngine
from planner.runs.following import follow
from planner.runs.handle import BackgroundExecutionHandle, OnComplete
from planner.runs.metrics import RunMetrics
from planner.runs.policy import RunPolicy
from planner.runs.service import RunService

__all__ = [
    "Advance",
    "BackgroundExecutionHandle",
    "ExecutionEngine",
    "LocalEngine",
    "OnComplete",
    "RunAccess",
    "RunMetrics",
    "RunPolicy",
    "RunService",
    "SecretProvider",
    "follow",
]
