"""What happens while planning and running, as values, and the one place that tells listeners."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from planner.plan.issues import ValidationResult

logger = logging.getLogger("goalgraph")

PlanningPhase = Literal["start", "search", "llm_request", "llm_response", "validation", "repair", "success", "failure"]
"""`search`: the catalog was searched again, in other words or for more; the rest is aethergraph's."""

ExecutionPhase = Literal[
    "start", "step_start", "step_progress", "step_retry", "step_success", "step_failure", "step_skipped", "waiting",
    "compensation_start", "compensation_success", "compensation_failure", "replan", "success", "failure", "cancelled",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlanningEvent:
    """One thing that happened while a plan was drafted."""

    phase: PlanningPhase
    iteration: int
    """From 0; -1 before the first model call."""
    message: str | None = None
    raw_llm_output: str | None = None
    plan_dict: dict[str, Any] | None = None
    validation: ValidationResult | None = None
    candidate: int = 0
    """Which of several candidates, drafted in parallel, this is about."""
    tokens: int = 0
    """Used so far, by all candidates."""


@dataclass(frozen=True, slots=True)
class ExecutionEvent:
    """One thing that happened while a plan ran."""

    phase: ExecutionPhase
    step_id: str | None = None
    message: str | None = None
    step_outputs: dict[str, Any] | None = None
    error: str | None = None
    """What failed, in words; it names the type of the error and the place."""
    seq: int = 0
    """1, 2, 3 … without gaps, within one execution of the run; a resumed one counts anew."""
    run_id: str = ""
    time: datetime | None = None
    """UTC."""
    attempt: int = 0
    """Of the step, from 1; 0 where it means nothing."""
    progress: float | None = None
    """Between 0 and 1, when the action reports it."""
    details: dict[str, Any] = field(default_factory=dict[str, Any])


class PlanningEventCallback(Protocol):
    """Is told of planning events; sync or async."""

    def __call__(self, event: PlanningEvent, /) -> Awaitable[None] | None:
        """Take note of `event`; what is raised is logged and changes nothing."""
        ...


class ExecutionEventCallback(Protocol):
    """Is told of execution events; sync or async."""

    def __call__(self, event: ExecutionEvent, /) -> Awaitable[None] | None:
        """Take note of `event`; what is raised is logged and changes nothing."""
        ...


E_contra = TypeVar("E_contra", contravariant=True)


class EventCallback(Protocol[E_contra]):
    """Either of the two."""

    def __call__(self, event: E_contra, /) -> Any:
        """Take note of `event`."""
        ...


async def emit(callback: EventCallback[E_contra] | None, event: E_contra) -> None:
    """Tell `callback` of `event`; what it raises is logged and goes no further."""
    if callback is None:
        return
    try:
        answer = callback(event)
        if inspect.isawaitable(answer):
            await answer
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.warning("an event listener was cancelled on %s", getattr(event, "phase", event))
    except Exception:  # a listener must not change the outcome of what it listens to
        logger.warning("an event listener failed on %s", getattr(event, "phase", event), exc_info=True)
