"""A request to run a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from planner.context import RunContext
from planner.events import ExecutionEventCallback
from planner.execution.outcome import StepOutcome
from planner.plan import CandidatePlan

OnFailure = Literal["compensate", "keep", "replan"]


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
    on_failure: OnFailure = "compensate"
    """What becomes of completed steps when the run fails: undone where they declare `undo`, left, or planned on.

    Like the other policies it is fixed when the attempt is started: a later call of the run does not change it.
    """
    on_cancel: Literal["compensate", "keep"] = "compensate"
    """The same, when it is cancelled."""
    max_replans: int = 2
    """With `on_failure="replan"`: how often a new tail is asked for; then the run fails, and keeps what was done."""
    attempt: int = 1
    """Counts how often the run was begun anew after it had ended."""
    undo_again: bool = False
    """Whether this attempt calls no step and only repeats the undos of the one before that failed."""
    kept: Mapping[str, StepOutcome] = field(default_factory=dict[str, StepOutcome])
    """Outcomes of an earlier attempt, by step: each counts while its action and its resolved inputs are the same.

    Without any, those of the attempt before in the same thread that succeeded and were not undone.
    """
    recorded: bool = False
    """Whether this was read from the run's record, which is the truth about it; then inputs are not compared again."""
