"""What the tasks of one run share while this process advances it; everything durable is in the outcomes."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from planner.catalog import ActionSpec, Codecs
from planner.context import RunContext
from planner.execution.acknowledge import Acknowledgements
from planner.execution.attempt import InnerTasks, Stopped
from planner.execution.bind import Values
from planner.execution.gate import Gates
from planner.execution.outcome import PendingInterrupt, StepOutcome
from planner.execution.publisher import Publisher
from planner.execution.secrets import secrets_in
from planner.limits import Limits
from planner.plan import CandidatePlan, PlanGraph, PlanStep
from storage.protocols import BlobStore

StopReason = Literal["failure", "cancelled", "deadline"]


@dataclass(kw_only=True)
class RunState:
    """One run in this process."""

    plan: CandidatePlan
    graph: PlanGraph
    specs: Mapping[str, ActionSpec]
    user_inputs: Mapping[str, Any]
    context: RunContext
    limits: Limits
    codecs: Codecs
    blobs: BlobStore
    gates: Gates
    stopping: asyncio.Event
    """Set when nothing new may start."""
    publisher: Publisher
    acknowledgements: Acknowledgements | None
    """`None` without a saver: then a result is as durable as it gets when it is returned."""
    stop_on_failure: bool = True
    steps: Mapping[str, PlanStep] = field(init=False)
    process: str = field(default_factory=lambda: uuid4().hex)
    """Tells a step that was in flight in another life of the run from one that is in flight in this one."""
    settled: dict[str, asyncio.Future[StepOutcome]] = field(default_factory=dict[str, "asyncio.Future[StepOutcome]"])
    """Done when the outcome of a step has been acknowledged."""
    results: dict[str, tuple[ActionSpec, Any, bool]] = field(default_factory=dict[str, tuple[ActionSpec, Any, bool]])
    """By finished step: its action, its whole value with blobs loaded, and whether that is one value for each item."""
    outcomes: dict[str, StepOutcome] = field(default_factory=dict[str, StepOutcome])
    """Acknowledged ones."""
    interrupts: list[PendingInterrupt] = field(default_factory=list[PendingInterrupt])
    inner: InnerTasks = field(default_factory=InnerTasks)
    stop_reason: StopReason | None = None
    stop_message: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    attempts: int = 0
    amount: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.steps = {step.id: step for step in self.plan.steps}
        self.secrets = secrets_in(self.user_inputs)
        self.bindings = Values(self.user_inputs, self.results)
        roots = [step_id for step_id in self.graph.order[: self.limits.window] if not self.graph.edges[step_id]]
        self._expected = set(roots)
        self._timer: asyncio.TimerHandle | None = None

    def arrived(self, step_id: str) -> None:
        """Note that a first step is ready or done; when all are, priorities are compared and the gate opens."""
        self._expected.discard(step_id)
        if not self._expected:
            self.gates.run.open()

    def future(self, step_id: str) -> "asyncio.Future[StepOutcome]":
        """Return the future of a step's acknowledged outcome."""
        found = self.settled.get(step_id)
        if found is None:
            found = self.settled[step_id] = asyncio.get_running_loop().create_future()
        return found

    def stop(self, reason: StopReason, message: str, grace: float) -> None:
        """Start nothing new; what works now may go on for `grace` seconds, then it is cancelled."""
        if self.stop_reason is None:
            self.stop_reason, self.stop_message = reason, message
            self.stopping.set()
        if grace <= 0:
            self.inner.stop()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(grace, self.inner.stop)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts, unless the run stops.

        Raises:
            Stopped: it did.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return
        raise Stopped

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def spend(self, spec: ActionSpec) -> str | None:
        """Count one call of `spec`; return the name of the limit that it would pass, and then do not count it."""
        cost = spec.policy.cost
        if self.limits.cost is not None and self.amount + cost.amount > self.limits.cost:
            return "cost"
        if self.limits.tokens is not None and self.tokens + cost.tokens > self.limits.tokens:
            return "tokens"
        self.amount += cost.amount
        self.tokens += cost.tokens
        return None
