"""A request to run a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.context import RunContext
from planner.events import ExecutionEventCallback
from planner.plan import CandidatePlan


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What is to be run, and how."""

    plan: CandidatePlan
    user_inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    context: RunContext
    on_event: ExecutionEventCallback | None = None
    stop_on_failure: bool = True
    """Whether the first failure of a step that is not optional keeps everything else from starting."""
    dry_run: bool = False
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Answers to the questions of a waiting run, by interrupt id."""
