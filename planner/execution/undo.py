"""One undo: which action it calls, with what, how often, and what became of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from planner.catalog import MISSING, ActionCatalog, ActionContext, ActionSpec, conform
from planner.catalog.decorator import is_action, spec_from_function
from planner.catalog.spec import ActionCall
from planner.errors import BindingError, PlannerError, UnknownAction
from planner.execution.attempt import ActionExit, Stopped, guarded, is_retried, with_retries
from planner.execution.bind import resolve
from planner.execution.blobs import load
from planner.execution.langgraph_tasks import durable
from planner.execution.outcome import StepOutcome, UndoOutcome
from planner.execution.secrets import error_text
from planner.execution.state import RunState
from planner.plan import PlanStep
from storage.errors import StorageError

PLAIN_RETRY = RetryPolicy(max_attempts=3, initial_interval=0.2, jitter=False, retry_on=Exception)
"""For an undo that is a plain function."""


class NotUndone(PlannerError, RuntimeError):
    """An undo cannot be called at all."""


def undoable(spec: ActionSpec, outcome: StepOutcome) -> bool:
    """Tell whether there is something to undo, and an action that may be called for it."""
    if spec.policy.undo is None:
        return False
    return any(_calls_for(spec, one) for one in (outcome.items or (outcome,)))


async def undo_step(state: RunState, step_id: str, items: Sequence[int] | None, ref: str | None = None) -> UndoOutcome:
    """Undo a step: its one call, or those of its items, the last first.

    Args:
        state: The run.
        step_id: The step.
        items: All that is left of it, if given.
        ref: The action that it was decided to call, whatever the step's own action says by now.
    """
    called = state.called(step_id)
    step, spec, outcome = called.step, called.spec, called.outcome
    try:
        action = _action(spec, state.catalog) if ref is None else state.catalog.get_action(ref)
        _check(action, state)
    except PlannerError as error:
        todo = [] if step.for_each is None else list(items or _items(state, step, outcome))
        return replace(_failure(state, step_id, error, 0), items=todo)
    if step.for_each is None:
        return await _Undo(state, step, action, outcome).run()
    values = resolve(step.for_each, state.bindings, None, (step.id, "for_each"))
    found: dict[int, UndoOutcome] = {}
    for at in sorted(items or _items(state, step, outcome), reverse=True):
        one = outcome.items[at] if outcome.items else outcome
        work = _Undo(state, step, action, one, _Item(at, values[at]))

        async def run(work: "_Undo" = work) -> dict[str, Any]:
            return (await work.run()).to_record()

        record = await durable(f"{step_id}[{at}]!undo", run, state.acknowledgements)
        found[at] = UndoOutcome.from_record(record)
    lost = [at for at, item in enumerate(outcome.items) if item.uncertain and not _calls_for(spec, item)]
    whole = _gather(step_id, found)
    if not lost or whole.status != "undone":
        return whole
    error = f"item {lost[0]} {outcome.items[lost[0]].status}, and may have taken effect ({len(found)} items undone)"
    return replace(whole, status="unknown", items=lost, error_type="UnknownOutcome", error=error)


def undo_ref(state: RunState, step_id: str) -> str | None:
    """Return the action that undoes a step, with its version; `None` where that is a plain function, or not there."""
    spec = state.called(step_id).spec
    try:
        return _action(spec, state.catalog).ref if isinstance(spec.policy.undo, str) else None
    except UnknownAction:
        return None


def _items(state: RunState, step: PlanStep, outcome: StepOutcome) -> list[int]:
    """Return the items of a mapped step that are to be undone."""
    if not outcome.items:
        return list(range(len(state.results[step.id][1])))
    spec = state.called(step.id).spec
    return [at for at, item in enumerate(outcome.items) if _calls_for(spec, item)]


def _gather(step_id: str, items: Mapping[int, UndoOutcome]) -> UndoOutcome:
    attempts = sum(one.attempts for one in items.values())
    failed = sorted(at for at, one in items.items() if one.status != "undone")
    if not failed:
        return UndoOutcome(step_id=step_id, status="undone", attempts=attempts, at=datetime.now(UTC))
    first = items[failed[0]]
    error = f"item {failed[0]}: {first.error} ({len(items) - len(failed)} of {len(items)} items undone)"
    return replace(first, error=error, attempts=attempts, items=failed)


def _calls_for(spec: ActionSpec, outcome: StepOutcome) -> bool:
    return outcome.status == "succeeded" or (outcome.uncertain and spec.policy.compensates_unknown)


def _action(spec: ActionSpec, catalog: ActionCatalog) -> ActionSpec:
    """Return what undoes an action, with the rules that it is called under.

    Raises:
        UnknownAction: it is named, and the catalog does not have it.
        NotUndone: there is none any more.
    """
    declared = spec.policy.undo
    if isinstance(declared, str):
        if ":" in declared:
            return catalog.get_action(declared)
        found = catalog.get_action_by_name(declared)
        if found is None:
            raise UnknownAction(declared, list(catalog.view.by_name))
        return found
    if declared is None:
        raise NotUndone(f"{spec.name} had an undo when the run was about to be undone, and has none any more")
    action = spec_from_function(declared, catalog.codecs)
    return action if is_action(declared) else replace(action, policy=replace(action.policy, retry=PLAIN_RETRY))


def _check(action: ActionSpec, state: RunState) -> None:
    """Make sure that the run may call `action`, now, without asking anybody."""
    if not action.allows(state.context.identity):
        raise NotUndone(f"{action.name} may only be called with one of the roles {sorted(action.policy.roles)}")
    if action.policy.approval or action.policy.effect in state.approve_effects:
        raise NotUndone(f"{action.name} needs a person's approval, which nobody can give during compensation")
    if action.call is None:
        raise NotUndone(f"{action.name} is only described in the catalog, so it cannot be called")


def _failure(state: RunState, step_id: str, error: BaseException, attempts: int) -> UndoOutcome:
    return UndoOutcome(
        step_id=step_id,
        status="failed",
        attempts=attempts,
        error_type=type(error).__name__,
        error=error_text(error, state.secrets),
        at=datetime.now(UTC),
    )


@dataclass(frozen=True, slots=True)
class _Item:
    index: int
    value: Any


@dataclass(slots=True)
class _Undo:
    """The undo of one call."""

    state: RunState
    step: PlanStep
    action: ActionSpec
    outcome: StepOutcome
    item: _Item | None = None
    attempts: int = 0

    async def run(self) -> UndoOutcome:
        """Call the undo until it returns or its attempts are used up."""
        state, step_id = self.state, self.step.id
        try:
            await self._call()
        except Stopped:
            raise state.broken or ActionExit("the undo was stopped") from None
        except GraphBubbleUp:
            error = NotUndone(f"{self.action.name} asks a person, which nobody can answer during compensation")
            return _failure(state, step_id, error, self.attempts)
        except StorageError:
            raise  # resuming the run mends it
        except Exception as error:  # noqa: BLE001 - whatever an undo raises is recorded, and stops no other
            if state.broken is not None:
                raise state.broken from None
            return _failure(state, step_id, error, self.attempts)
        return UndoOutcome(step_id=step_id, status="undone", attempts=self.attempts, at=datetime.now(UTC))

    async def _call(self) -> None:
        state = self.state

        def on_retry(number: int, error: BaseException) -> None:
            told = f"{type(error).__name__}: {error_text(error, state.secrets)}"
            state.publisher.publish("step_retry", self.step.id, attempt=number, error=told, details={"undo": True})

        async with state.gates.hold(self.action, self.step.priority):
            if state.broken is not None:
                raise state.broken
            state.check_lease()
            arguments = self._arguments(await self._known())
            await with_retries(
                lambda number: self._attempt(arguments, number),
                self.action.policy.retry,
                lambda error: is_retried(error, self.action.policy.retry),
                on_retry=on_retry,
                pause=state.pause,
            )

    async def _attempt(self, arguments: Mapping[str, Any], number: int) -> None:
        state = self.state
        self.attempts = number
        state.amount += self.action.policy.cost.amount  # counted, but no budget keeps an effect from being undone
        state.tokens += self.action.policy.cost.tokens
        context = ActionContext(
            run_id=state.context.run_id,
            step_id=self.step.id,
            attempt=number,
            idempotency_key=state.undo_key(self.step.id, None if self.item is None else self.item.index),
            identity=state.context.identity,
            on_report=lambda progress, message: state.report(self.step.id, progress, message),
        )
        call = cast("ActionCall", self.action.call)
        work = guarded(lambda: call(arguments, context, state.context.resources))
        await state.inner.run(work, self.action.policy.timeout or state.limits.step_timeout)

    async def _known(self) -> dict[str, Any]:
        """Return everything that the undo may ask for, by parameter name."""
        state, step, spec = self.state, self.step, self.state.called(self.step.id).spec
        item = None if self.item is None else self.item.value
        inputs = {name: resolve(value, state.bindings, item, (step.id, name)) for name, value in step.inputs.items()}
        defaults = {slot.name: slot.default for slot in spec.inputs if slot.default is not MISSING}
        known = self.outcome.status == "succeeded"
        result = await self._result() if known else None
        outputs: Mapping[str, Any] | None = None
        if known:
            outputs = {"result": result} if spec.single_output else cast("Mapping[str, Any]", result)
        words = {"inputs": inputs, "outputs": outputs, "result": result, "outcome": "succeeded" if known else "unknown"}
        return {**(outputs or {}), **defaults, **inputs, **words}

    async def _result(self) -> Any:
        if self.step.id not in self.state.results:  # an item of a mapped step that did not succeed
            return await load(self.outcome, self.state.blobs, self.state.codecs)
        value = self.state.results[self.step.id][1]
        return value if self.item is None else value[self.item.index]

    def _arguments(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Give the undo what it asks for, in the types it asks for.

        Raises:
            BindingError: it requires what neither the step nor its outcome has, or of another type.
        """
        arguments: dict[str, Any] = {}
        for slot in self.action.inputs:
            place = f"the undo of {self.step.id}.{slot.name}"
            if slot.name in known:
                value = known[slot.name]
                unknown = value is None and slot.name in ("outputs", "result")
                arguments[slot.name] = value if slot.adapter is None or unknown else conform(slot.adapter, value, place)
            elif slot.required:
                raise BindingError(place, "the step has neither an input nor an output of this name")
        return arguments
