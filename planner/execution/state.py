"""What the tasks of one run share while this process advances it; everything durable is in the outcomes."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from planner.catalog import ActionCatalog, ActionSpec, Codecs
from planner.catalog.spec import Effect
from planner.context import RunContext
from planner.errors import LeaseLost
from planner.execution.acknowledge import Acknowledgements
from planner.execution.attempt import LINGER, InnerTasks, Stopped
from planner.execution.bind import Values
from planner.execution.gate import Gates
from planner.execution.outcome import Left, PendingInterrupt, RunStatus, StepOutcome, UndoOutcome
from planner.execution.publisher import Publisher
from planner.execution.request import OnFailure
from planner.limits import Limits
from planner.plan import CandidatePlan, PlanGraph, PlanStep, build_graph, resolve_step
from planner.plan.replanning import Replanner
from storage.protocols import BlobStore

ABORT_AFTER = 2 * LINGER
"""Seconds without any event after which a run that was stopped is ended by force: its store does not answer."""

StopReason = Literal["failure", "cancelled", "deadline"]


@dataclass(frozen=True, slots=True)
class Called:
    """A step, of the plan or of one that a replan has replaced, with what became of it."""

    step: PlanStep
    spec: ActionSpec
    outcome: StepOutcome


@dataclass(kw_only=True)
class RunState:
    """One run in this process."""

    plan: CandidatePlan
    graph: PlanGraph
    specs: Mapping[str, ActionSpec]
    user_inputs: Mapping[str, Any]
    context: RunContext
    limits: Limits
    catalog: ActionCatalog
    codecs: Codecs
    blobs: BlobStore
    gates: Gates
    stopping: asyncio.Event
    """Set when nothing new may start."""
    publisher: Publisher
    acknowledgements: Acknowledgements | None
    """`None` without a saver: then a result is as durable as it gets when it is returned."""
    approve_effects: frozenset[Effect] = frozenset()
    """An action with one of these needs approval, whatever it declares."""
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The value of each secret among the inputs → its name."""
    stop_on_failure: bool = True
    on_failure: OnFailure = "compensate"
    on_cancel: Literal["compensate", "keep"] = "compensate"
    max_replans: int = 0
    replanner: Replanner | None = field(default=None, repr=False)
    """Gives a new tail for `on_failure="replan"`; without one, such a run fails."""
    kept: Mapping[str, StepOutcome] = field(default_factory=dict[str, StepOutcome])
    """Outcomes of an earlier attempt."""
    left: Mapping[str, Left] = field(default_factory=dict[str, Left])
    """What the attempt before may have left and what cannot be kept, by step."""
    carried: dict[str, StepOutcome] = field(default_factory=dict[str, StepOutcome])
    """What an earlier attempt did in steps that this one did not get to, and that is still there."""
    items: dict[str, list[StepOutcome | None]] = field(default_factory=dict[str, list[StepOutcome | None]])
    """Of a mapped step that waits for a person: what became of each item so far."""
    told: set[str] | None = None
    """Steps of a resumed run whose end is in its log; the process that died may not have got that far with others."""
    taken: set[str] = field(default_factory=set[str])
    """Steps whose outcome is that of the earlier attempt."""
    revision: int = 0
    """Counts the replans of the run."""
    undone: Mapping[str, int] = field(default_factory=dict[str, int])
    """Step, or `step[item]` where it was only some items → how many earlier attempts undid it."""
    compensation: dict[str, UndoOutcome] = field(default_factory=dict[str, UndoOutcome])
    """Acknowledged ones."""
    sealed: bool = False
    """Whether it is decided how the run ends; then nothing stops it any more, and it is undone where it has to be."""
    overruled: tuple[StopReason, str] | None = None
    """What stopped it after it had failed, when it was cancelled or met its deadline; then there is no replan."""
    superseded: dict[str, Called] = field(default_factory=dict[str, Called])
    """Steps that replans took out of the plan and that may have left an effect, by `step#revision`, also as their id.
    """
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
    broken: BaseException | None = None
    """Why this process can advance the run no further; nothing may be recorded any more."""
    abort: Callable[[], object] = field(default=lambda: None, repr=False)
    """Ends the run's task, when it has been stopped and does not end by itself."""
    check_lease: Callable[[], None] = field(default=lambda: None, repr=False)
    """Raises `LeaseLost` when this process may advance the run no longer; called before an action begins."""
    on_status: Callable[[RunStatus], None] = field(default=lambda _: None, repr=False)
    """Told of a status that is no end: `running`, `compensating`."""
    bindings: Values = field(init=False, repr=False)
    """What bindings can reach now."""
    attempts: int = 0
    amount: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.steps = {step.id: step for step in self.plan.steps}
        self.bindings = Values(self.user_inputs, self.results)
        roots = [step_id for step_id in self.graph.order[: self.limits.window] if not self.graph.edges[step_id]]
        self._expected = set(roots)
        self._timers: list[asyncio.TimerHandle] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

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

    def key(self, step_id: str, item: int | None = None) -> str:
        """Return the idempotency key of a call: `run:revision:step[:item]`."""
        return f"{self.context.run_id}:{self.revision}{self._again(step_id, item)}:{_call(step_id, item)}"

    def undo_key(self, step_id: str, item: int | None = None) -> str:
        """Return the idempotency key of an undo: `run:step:undo[:item]`."""
        return f"{self.context.run_id}:{_call(f'{step_id}:undo{self._again(step_id, item)}', item)}"

    def _again(self, step_id: str, item: int | None) -> str:
        """Tell calls apart that repeat what an earlier attempt has undone: what a key did before is gone."""
        step_id = step_id.partition("#")[0]  # a step that was taken out of the plan is counted with those of its id
        times = self.undone.get(step_id, 0) + (0 if item is None else self.undone.get(f"{step_id}[{item}]", 0))
        return f".{times}" if times else ""

    def adopt(self, plan: CandidatePlan, revision: int) -> None:
        """Go on with another plan: what succeeded and is in it counts as done, everything else begins anew."""
        done = {step.id for step in plan.steps if step.id in self.results}
        for step_id in sorted(self.outcomes.keys() - done):
            self._supersede(step_id)
        self.plan, self.graph, self.revision = plan, build_graph(plan), revision
        self.specs = {step.id: resolve_step(step, self.catalog) for step in plan.steps}
        self.steps = {step.id: step for step in plan.steps}
        for known in (self.outcomes, self.settled, self.items):
            for step_id in known.keys() - done:
                del known[step_id]

    def _supersede(self, step_id: str) -> None:
        """Keep a step that leaves the plan in mind when it may have left an effect."""
        outcome = self.outcomes[step_id]
        if outcome.uncertain or any(item.status == "succeeded" or item.uncertain for item in outcome.items):
            name = f"{step_id}#{self.revision}"
            step = self.steps[step_id].model_copy(update={"id": name, "action_ref": outcome.ref})
            self.superseded[name] = Called(step, self.specs[step_id], outcome)

    def called(self, name: str) -> Called:
        """Return a step that is settled, of the plan or superseded."""
        if name in self.superseded:
            return self.superseded[name]
        return Called(self.steps[name], self.specs[name], self.carried.get(name) or self.outcomes[name])

    @property
    def everything(self) -> PlanGraph:
        """The graph of the plan together with the superseded steps."""
        if not self.superseded:
            return self.graph
        steps = (*self.plan.steps, *(one.step for one in self.superseded.values()))
        return build_graph(self.plan.model_copy(update={"steps": steps}))

    def restart(self) -> None:
        """Let actions begin again after a stop."""
        if self.broken is not None:
            raise self.broken
        self.close()
        self.stopping.clear()
        self.inner = InnerTasks()

    def seal(self) -> None:
        """Decide how the run ends: from now on nothing stops it."""
        self.sealed = True

    def stop(self, reason: StopReason, message: str, grace: float) -> None:
        """Start nothing new; what works now may go on for `grace` seconds, then it is cancelled."""
        if self.sealed:
            return
        if self.overruled is None and reason != "failure" and self.stop_reason == "failure":
            self.overruled = (reason, message)
        if self.stop_reason is None:
            self.stop_reason, self.stop_message = reason, message
            self.stopping.set()
            self._watch(max(0.0, grace) + ABORT_AFTER)
        if grace <= 0:
            self.inner.stop()
        else:
            self._timers.append(self._loop.call_later(grace, self.inner.stop))

    def watch(self) -> None:
        """Give the run up when it does not end soon, because its store does not answer."""
        self._watch(ABORT_AFTER)

    def _watch(self, seconds: float) -> None:
        """Give the run up when nothing has happened for so long; a large plan takes its time to be recorded."""
        told = self.publisher.count

        def look() -> None:
            if self.publisher.count == told:
                self.abort()
            else:
                self._watch(ABORT_AFTER)

        self._timers.append(self._loop.call_later(seconds, look))

    def break_off(self, error: BaseException) -> None:
        """Stop everything without recording it: the store refused a write, or something of ours is broken."""
        if self.broken is None:
            self.broken = error
            self.stopping.set()
            self.inner.stop()

    def report(self, step_id: str, progress: float | None, message: str | None) -> None:
        """Tell how far a step is; may be called from any thread."""

        def tell() -> None:
            self.publisher.publish("step_progress", step_id, progress=progress, message=message)

        if threading.get_ident() == self._thread:
            tell()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: an abandoned thread reports to nobody
            self._loop.call_soon_threadsafe(tell)

    def named_outputs(self, step_id: str) -> dict[str, Any]:
        """Return a finished step's whole value by output; for a mapped step each output is a list."""
        spec, value, mapped = self.results[step_id]
        if spec.single_output:
            return {"result": value}
        if mapped:
            return {slot.name: [one.get(slot.name) for one in value] for slot in spec.outputs}
        return dict(value)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts, unless the run stops.

        Raises:
            Stopped: it did.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            with contextlib.suppress(LeaseLost):
                self.check_lease()
                return
        raise Stopped

    def close(self) -> None:
        """Let go of the timers."""
        for timer in self._timers:
            timer.cancel()

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


def _call(name: str, item: int | None) -> str:
    return name if item is None else f"{name}:{item}"
