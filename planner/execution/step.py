"""One step: wait for what it needs, decide whether it runs, run it once or for each item, and say what became of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from langgraph.errors import GraphBubbleUp

from planner.catalog import ActionContext, ActionSpec, to_plain
from planner.catalog.spec import ActionCall
from planner.errors import ApprovalRefused, BindingError, LimitExceeded
from planner.execution.asking import Questions, approved, begin, decided, in_flight, raise_open_question
from planner.execution.attempt import (
    AttemptTimeout,
    DecidedFailed,
    FlowAttemptFailed,
    Returned,
    Stopped,
    check_output,
    guarded,
    is_retried,
    with_retries,
)
from planner.execution.bind import bind_inputs, holds, resolve
from planner.execution.blobs import live_value, load, set_aside
from planner.execution.kept import items_hash, kept_call, kept_items, recordable
from planner.execution.langgraph_tasks import nested, pass_over_call
from planner.execution.outcome import SkipReason, StepOutcome, StepStatus
from planner.execution.secrets import error_text
from planner.execution.state import RunState
from planner.execution.window import Window
from planner.plan import EdgeKind, PlanStep
from storage.errors import StorageError


async def run_step(state: RunState, step: PlanStep) -> StepOutcome:
    """Return what became of `step`: a failed action is an outcome, a failed store is raised."""
    spec = state.specs[step.id]
    waits = {other: await state.future(other) for other in state.graph.edges[step.id]}
    if (why := _blocked(state, step, waits)) is not None:
        return _skipped(step, spec, *why)
    if state.stop_reason is not None and not _has_items(state, step):
        return not_begun(state, step.id, undecided=in_flight(state, step, step.id))
    try:
        if step.when is not None and not holds(step.when, state.bindings, None, step.id):
            return _skipped(step, spec, "condition", f"{step.when.ref} {step.when.op} was false")
        if step.for_each is None:
            return await _run_unit(Unit(state, step, spec))
        return await _run_items(state, step, spec)
    except (ApprovalRefused, BindingError, LimitExceeded) as error:
        return _failed(state, step, spec, error)


def _blocked(state: RunState, step: PlanStep, waits: Mapping[str, StepOutcome]) -> tuple[SkipReason, str] | None:
    """Say why `step` cannot run after what it waited for, or return `None`."""
    failed: str | None = None
    condition: str | None = None
    for other, outcome in waits.items():
        kind = state.graph.edges[step.id][other]
        if outcome.failed and kind is not EdgeKind.ORDER:
            failed = f"{other!r} {outcome.status}"
        elif outcome.status == "skipped":
            if outcome.reason != "condition" and kind is not EdgeKind.ORDER:
                failed = f"{other!r} was skipped"
            elif kind is EdgeKind.DATA:
                condition = f"{other!r} was skipped by its condition"
    if failed is not None:
        return "dependency", failed
    return None if condition is None else ("condition", condition)


def _has_items(state: RunState, step: PlanStep) -> bool:
    """Tell whether an earlier life may have run some items of a mapped step; then the others are skipped one by one."""
    return step.for_each is not None and state.acknowledgements is not None and state.acknowledgements.earlier.any


WORST_FIRST: Sequence[StepStatus] = ("failed", "unknown", "cancelled", "skipped", "succeeded")


@dataclass(slots=True)
class Siblings:
    """What the items of one mapped step know of each other in this process."""

    done: int = 0
    failed: bool = False
    """Then no further item starts: the step has failed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a mapped step."""

    index: int
    value: Any
    siblings: Siblings


class Unit:
    """One call of an action: a whole step, or one item of a mapped one."""

    def __init__(self, state: RunState, step: PlanStep, spec: ActionSpec, item: Item | None = None) -> None:
        self.state = state
        self.step = step
        self.spec = spec
        self.item = item
        self.name = step.id if item is None else f"{step.id}[{item.index}]"
        self.attempts = 0
        self.acted = False
        """Whether a call returned, or took too long: then it may have taken effect, whatever is wrong with it."""
        self.questions = Questions(state, step.id)
        self.key = state.key(step.id, None if item is None else item.index)

    async def attempt(self, arguments: Mapping[str, Any], number: int) -> Returned:
        """Call the action once.

        Raises:
            Exception: whatever the action raises, or what is wrong with what it returned.
        """
        state = self.state
        self.attempts = number
        state.attempts += 1
        if (limit := state.spend(self.spec)) is not None:
            raise LimitExceeded(limit, f"another call of {self.spec.name} would pass what the run may spend")
        context = ActionContext(
            run_id=state.context.run_id,
            step_id=self.step.id,
            attempt=number,
            idempotency_key=self.key,
            identity=state.context.identity,
            on_report=lambda progress, message: state.report(self.step.id, progress, message),
            on_ask=self.questions.attempt(),
        )
        call = cast("ActionCall", self.spec.call)  # the executor refuses plans with actions that are only described
        work = guarded(lambda: call(arguments, context, state.context.resources))
        try:
            value = await state.inner.run(work, self.spec.policy.timeout or state.limits.step_timeout)
        except AttemptTimeout:
            self.acted = True
            raise
        self.acted = True
        return check_output(self.spec, value, state.codecs, state.limits.output_bytes, state.secrets)

    def repeats(self, error: BaseException) -> bool:
        """Tell whether the action is called again after `error`: never twice what may have acted and must not."""
        if self.acted and self.spec.policy.idempotent == "no":
            return False
        return is_retried(error, self.spec.policy.retry)

    async def flow_attempt(self, arguments: Mapping[str, Any], number: int) -> tuple[Any, list[Any]]:
        """Call a flow once, as a task of its own, so that a resumed run goes on inside the attempt that it was in."""
        self.attempts = number

        async def attempt() -> dict[str, Any]:
            try:
                returned = await self.attempt(arguments, number)
            except (GraphBubbleUp, Stopped, StorageError):
                raise
            except Exception as error:  # noqa: BLE001 -- whatever a flow raises is the outcome of the attempt
                if self.state.broken is not None:  # the flow's own checkpoints were refused
                    raise self.state.broken from None
                message = error_text(error, self.state.secrets)
                facts = {"retried": self.repeats(error), "acted": self.acted}
                return {"ok": False, "error_type": type(error).__name__, "error": message, **facts}
            value, blobs = await set_aside(returned, self.spec, self.state.blobs, self.state.limits.blob_bytes)
            return {"ok": True, "value": value, "blobs": blobs}

        record = await nested(f"{self.name}#{number}", attempt)
        if not record["ok"]:
            self.acted = self.acted or record.get("acted", False)
            raise FlowAttemptFailed(record["error_type"], record["error"], retried=record["retried"])
        return record["value"], [tuple(part) for part in record["blobs"]]


async def _run_unit(unit: Unit) -> StepOutcome:
    """Run one call with its limits, attempts and intent."""
    state, step, spec = unit.state, unit.step, unit.spec
    item = None if unit.item is None else unit.item.value
    arguments, inputs_hash = bind_inputs(step, spec, state.bindings, item, state.secrets)
    state.arrived(step.id)
    if (known := kept_call(state, step.id, spec.ref, inputs_hash, unit.item and unit.item.index)) is not None:
        return known
    if unit.item is None:
        await approved(state, step, spec)
    if spec.kind == "action":
        raise_open_question(state)  # a flow has checkpoints of its own, and goes on where it asked
    async with state.gates.hold(spec, step.priority):
        if (ended := _ended_meanwhile(unit)) is not None:
            return ended
        started_at = datetime.now(UTC)
        if unit.item is None:
            state.publisher.publish("step_start", step.id, attempt=1)
        outcome = StepOutcome(
            step_id=step.id, ref=spec.ref, status="succeeded", inputs_hash=inputs_hash, started_at=started_at
        )
        try:
            value, blobs, live = await _once(state, unit, arguments, item)
        except GraphBubbleUp:
            raise
        except StorageError:
            raise  # the effect may be there and its value is lost: the step is not recorded, and runs again
        except Stopped:
            if state.broken is not None:
                raise state.broken from None
            message = f"stopped while it worked: {state.stop_message}"
            outcome = replace(outcome, status="cancelled", error_type="Cancelled", error=message)
        except Exception as error:  # noqa: BLE001 - whatever an action raises is the outcome of its step
            if state.broken is not None:
                raise state.broken from None
            failure = _failed(state, step, spec, error)
            facts = {"error_type": failure.error_type, "error": failure.error, "acted": unit.acted}
            outcome = replace(outcome, status="failed", **facts)
        else:
            outcome = replace(outcome, value=value, blobs=blobs)
            if unit.item is None:
                state.results[step.id] = (spec, live, False)
        return replace(outcome, attempts=unit.attempts, finished_at=datetime.now(UTC))


def _ended_meanwhile(unit: Unit) -> StepOutcome | None:
    """Say what becomes of a call that has its turn when nothing new may start; `None` when it may."""
    state, step = unit.state, unit.step
    if state.broken is not None:
        raise state.broken
    state.check_lease()  # a process that was stopped for a while begins nothing that another one may do by now
    if state.stop_reason is not None:
        return not_begun(state, step.id, undecided=in_flight(state, step, unit.name))
    if unit.item is not None and unit.item.siblings.failed:
        return _skipped(step, unit.spec, "stopped", "another item had failed")
    return None


async def _once(state: RunState, unit: Unit, arguments: Mapping[str, Any], item: Any) -> tuple[Any, list[Any], Any]:
    """Call the action, or take what a person says of a call that an earlier life of the run had begun."""
    step, spec = unit.step, unit.spec
    if spec.policy.idempotent != "no" or spec.kind != "action":
        if spec.policy.undo is not None or spec.policy.effect != "read":
            await begin(state, unit.name)
        else:
            pass_over_call()  # so that another life, to which it is no mere reading, finds what a flow has begun
        return await _call(state, unit, arguments)
    decision = await decided(state, step, spec, unit.name, item)
    if decision is None:
        return await _call(state, unit, arguments)
    if decision["decision"] == "failed":
        raise DecidedFailed(decision.get("error") or "a person decided that it failed")
    unit.acted = True
    returned = check_output(spec, decision.get("value"), state.codecs, state.limits.output_bytes, state.secrets)
    value, blobs = await set_aside(returned, spec, state.blobs, state.limits.blob_bytes)
    return value, blobs, live_value(returned)


async def _call(state: RunState, unit: Unit, arguments: Mapping[str, Any]) -> tuple[Any, list[Any], Any]:
    """Return what is recorded of the value, where its blobs went, and the whole value."""

    def on_retry(number: int, error: BaseException) -> None:
        told = f"{type(error).__name__}: {error_text(error, state.secrets)}"
        state.publisher.publish("step_retry", unit.step.id, attempt=number, error=told)

    policy = unit.spec.policy.retry
    if unit.spec.kind == "flow":
        value, parts = await with_retries(
            lambda number: unit.flow_attempt(arguments, number),
            policy,
            unit.repeats,
            on_retry=on_retry,
            pause=state.pause,
        )
        whole = StepOutcome(step_id=unit.step.id, ref=unit.spec.ref, status="succeeded", value=value, blobs=parts)
        return value, parts, await load(whole, state.blobs, state.codecs)
    returned = await with_retries(
        lambda number: unit.attempt(arguments, number), policy, unit.repeats, on_retry=on_retry, pause=state.pause
    )
    value, blobs = await set_aside(returned, unit.spec, state.blobs, state.limits.blob_bytes)
    return value, blobs, live_value(returned)


async def _run_items(state: RunState, step: PlanStep, spec: ActionSpec) -> StepOutcome:
    """Run the step once for each item, each as a task of its own, so that only unfinished items are repeated."""
    items = resolve(step.for_each, state.bindings, None, (step.id, "for_each"))
    if not isinstance(items, list):
        raise BindingError(f"{step.id}.for_each", f"{step.for_each} gave a {type(items).__name__}, not a list")
    todo = cast("list[Any]", items)
    if len(todo) > state.limits.items:
        raise LimitExceeded(
            "items", f"for_each of {step.id!r} has {len(todo):,} items, more than {state.limits.items:,}"
        )
    if (known := kept_items(state, step, spec, todo)) is not None:
        state.arrived(step.id)
        return known
    if todo:
        await approved(state, step, spec, todo)
    started_at = datetime.now(UTC)
    state.publisher.publish("step_start", step.id, details={"items": len(todo)})
    siblings = Siblings()

    def count(_: object) -> None:
        siblings.done += 1
        facts = {"items": siblings.done, "of": len(todo)}
        state.publisher.publish("step_progress", step.id, progress=siblings.done / len(todo), details=facts)

    units = [Unit(state, step, spec, Item(at, value, siblings)) for at, value in enumerate(todo)]
    state.items[step.id] = [None] * len(todo)
    calls = [_item_call(unit, siblings) for unit in units]
    ordered = await Window(state.limits.window).gather(calls, count, lambda: state.broken)
    if not todo:
        state.arrived(step.id)
    return await _gather(state, step, spec, ordered, started_at)


def _item_call(unit: Unit, siblings: Siblings) -> Callable[[], Awaitable[StepOutcome]]:
    async def run() -> dict[str, Any]:
        try:
            outcome = await _run_unit(unit)
        except BindingError as error:
            outcome = _failed(unit.state, unit.step, unit.spec, error)
        siblings.failed = siblings.failed or outcome.failed
        return outcome.to_record()

    async def call() -> StepOutcome:
        outcome = StepOutcome.from_record(await nested(unit.name, run))
        if unit.item is not None:
            unit.state.items[unit.step.id][unit.item.index] = outcome
        return outcome

    return call


async def _gather(
    state: RunState, step: PlanStep, spec: ActionSpec, items: list[StepOutcome], started_at: datetime
) -> StepOutcome:
    """Make one outcome of those of the items: the first of the worst, or the list of what they returned."""
    attempts = sum(item.attempts for item in items)
    now = datetime.now(UTC)
    at, item = min(enumerate(items), key=lambda entry: WORST_FIRST.index(entry[1].status), default=(0, None))
    if item is not None and item.status != "succeeded":
        done = sum(one.status == "succeeded" for one in items)
        error = f"item {at}: {item.error} ({done} of {len(items)} items succeeded)"
        whole = replace(item, value=None, blobs=(), error=error, attempts=attempts, inputs_hash=None)
        kept = recordable(items, state.limits.output_bytes)
        return replace(whole, items=kept, started_at=started_at, finished_at=now)
    blobs = [((at, *path), *rest) for at, item in enumerate(items) for path, *rest in item.blobs]
    outcome = StepOutcome(
        step_id=step.id,
        ref=spec.ref,
        status="succeeded",
        value=[item.value for item in items],
        blobs=cast("Any", blobs),
        attempts=attempts,
        inputs_hash=items_hash(item.inputs_hash for item in items),
        started_at=started_at,
        finished_at=now,
    )
    values = await load(outcome, state.blobs, state.codecs)
    size = to_plain(outcome.value).size
    if size > state.limits.output_bytes:
        bound = f"more than the {state.limits.output_bytes:,} of one output"
        error = LimitExceeded("output_bytes", f"the items of {step.id!r} gave about {size:,} bytes, {bound}")
        whole = replace(_failed(state, step, spec, error), attempts=attempts, started_at=started_at)
        return replace(whole, items=recordable(items, state.limits.output_bytes))
    state.results[step.id] = (spec, values, True)
    return outcome


def _skipped(step: PlanStep, spec: ActionSpec, reason: SkipReason, message: str) -> StepOutcome:
    return StepOutcome(
        step_id=step.id, ref=spec.ref, status="skipped", reason=reason, error=message, finished_at=datetime.now(UTC)
    )


def not_begun(state: RunState, step_id: str, *, undecided: bool) -> StepOutcome:
    """Say what becomes of a step that does not run, because the run has stopped.

    It is `unknown` when it was in flight in an earlier life of the run, and nobody has decided what became of it.
    """
    step, spec = state.steps[step_id], state.specs[step_id]
    outcome = _skipped(step, spec, "stopped", f"the run stopped: {state.stop_message}")
    if not undecided:
        return outcome
    error = "it was in flight when the run stopped, and may or may not have taken effect"
    return replace(outcome, status="unknown", reason=None, error_type="UnknownOutcome", error=error)


def _failed(state: RunState, step: PlanStep, spec: ActionSpec, error: BaseException) -> StepOutcome:
    kind = error.error_type if isinstance(error, FlowAttemptFailed) else type(error).__name__
    return StepOutcome(
        step_id=step.id,
        ref=spec.ref,
        status="failed",
        error_type=kind,
        error=error_text(error, state.secrets),
        finished_at=datetime.now(UTC),
    )
