"""The LangGraph graph of a plan: one entrypoint that calls one task a step, always in the same order.

LangGraph knows a task by its name and by how many were called before it. So the order of the calls may never depend on
what finishes first: the steps are called by level, then id, and each waits inside for what it needs. (planning.md
section 6 has the measurements, and what goes wrong otherwise.) Only *when* the next call is made depends on the run: as
soon as a step is ready, everything up to it in the order is called, and nothing beyond it, because LangGraph does work
for each open task whenever one of them finishes.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.func import entrypoint  # pyright: ignore[reportMissingTypeStubs]  # typed in its source, without a py.typed
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed in its source, without a py.typed

from planner.errors import RunConflict
from planner.execution.blobs import load
from planner.execution.compensation import compensate, undo_again, undone_before
from planner.execution.kept import kept_from, left_from, recordable
from planner.execution.langgraph_tasks import current_task_id, named_task
from planner.execution.outcome import StepOutcome
from planner.execution.people import read_question
from planner.execution.replan import replan
from planner.execution.secrets import without
from planner.execution.state import RunState
from planner.execution.step import not_begun, run_step
from planner.execution.summary import final_record, restore
from planner.execution.window import Window
from planner.plan import PlanStep

_STATE: ContextVar[RunState] = ContextVar("goalgraph_run")


async def goalgraph_run(start: dict[str, Any], *, previous: Any = None) -> dict[str, Any]:
    """Advance the run of the current context; `previous` is what the attempt before this one ended with."""
    return await _advance(_STATE.get(), start, previous)


_GRAPH = cast("Pregel[Any, Any, Any, Any]", entrypoint()(goalgraph_run))
"""Built once: LangGraph takes a tenth of a short run to look at a function and to wire its channels."""


def make_graph(state: RunState, saver: BaseCheckpointSaver[Any] | None) -> Pregel[Any, Any, Any, Any]:
    """Return the graph whose one run, in the current context, advances `state`."""
    _STATE.set(state)
    graph = copy(_GRAPH)
    graph.checkpointer = saver
    return graph


async def _advance(state: RunState, start: dict[str, Any], previous: Mapping[str, Any] | None) -> dict[str, Any]:
    """Advance a run to its end; return what is recorded of it."""
    if state.acknowledgements is not None:
        state.acknowledgements.on_refused = state.break_off
    if start.get("undo_again"):
        if previous is None:
            raise RunConflict(f"run {state.context.run_id!r} has not ended before, so there is no undo to repeat")
        state.undone = dict(previous.get("undone", {}))
        await restore(previous, state)
        await undo_again(state, previous)
    else:
        state.undone = undone_before(previous)
        if previous is not None and not state.kept:
            state.kept = kept_from(previous)
        state.left = left_from(previous)
        _stay_stopped(state)
        await _Body(state).run()
        while state.on_failure == "replan" and await replan(state):
            await _Body(state).run()
        await compensate(state)
    return final_record(state, start)


def _stay_stopped(state: RunState) -> None:
    """Stop a run that was being undone because it had been stopped: what it had asked is not asked any more."""
    end = None if state.acknowledgements is None else state.acknowledgements.earlier.end
    if end is not None and end["stop"] in ("cancelled", "deadline"):
        state.stop(end["stop"], end["stop_message"], 0)


class _Body:
    """The steps of one plan: the one that the run began with, or what a replan made of it."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.tasks_here: dict[str, str] = {}
        """Steps whose task began in this process, and LangGraph's id for it."""
        done = state.outcomes.keys()
        self.order = [step_id for step_id in state.graph.order if step_id not in done]
        self.position = {step_id: at for at, step_id in enumerate(self.order)}
        self.unmet = {step_id: len(state.graph.edges[step_id].keys() - done) for step_id in self.order}
        self.dependents: dict[str, list[str]] = {step_id: [] for step_id in self.order}
        for step_id in self.order:
            for other in state.graph.edges[step_id].keys() - done:
                self.dependents[other].append(step_id)
        self.called = 0
        """How many steps of the order have been called."""
        self.wanted = 0
        """How many of the order have to be called so that every ready step is."""
        self.open = 0
        self.more = asyncio.Event()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.window = Window(state.limits.window)
        self.loading: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Call every step that is not done, until each is settled.

        Raises:
            GraphInterrupt: the run waits for a person.
        """
        state = self.state
        if state.acknowledgements is not None:
            state.acknowledgements.on_refused = self._fatal
        self._ready(step_id for step_id, count in self.unmet.items() if count == 0)
        await self._call()
        if state.interrupts and state.stop_reason is None:
            raise GraphInterrupt(())  # empty: the questions are stored where they were asked
        await self._call_rest()
        state.interrupts.clear()

    async def _call_rest(self) -> None:
        """Settle what asked, or waits for a step that did, in a run that has been stopped.

        All steps are called before anything else is: LangGraph would know what comes next by another number otherwise.
        """
        for step_id in self.order[: self.called]:
            if step_id not in self.state.outcomes:
                self._stopped(step_id)
        if self.called < len(self.order):
            self.finished = asyncio.get_running_loop().create_future()
            self.wanted = len(self.order)
            await self._call()

    def _stopped(self, step_id: str) -> None:
        undecided = any(one.kind == "unknown" and one.step_id == step_id for one in self.state.interrupts)
        outcome = not_begun(self.state, step_id, undecided=undecided)
        items = self.state.items.get(step_id, ())
        if any(item is not None for item in items):  # some of them are done, and another one asks
            items = [item or outcome for item in items]
            outcome = replace(outcome, items=recordable(items, self.state.limits.output_bytes))
        self.state.outcomes[step_id] = outcome
        self.state.settled.pop(step_id, None)  # it told those that waited for it to wait on
        self.state.future(step_id).set_result(outcome)
        self._publish(outcome)

    async def _call(self) -> None:
        """Call the steps in their order until all have been settled, or what is left waits for a person."""
        while not self.finished.done():
            while self.called < self.wanted and not self.finished.done():
                await self.window.enter()
                step_id = self.order[self.called]
                self.called += 1
                self.open += 1
                future = asyncio.ensure_future(self._task(self.state.steps[step_id])())
                future.add_done_callback(self._watch(step_id))
            await self.more.wait()
            self.more.clear()
        await self.finished

    def _ready(self, step_ids: Iterable[str]) -> None:
        self.wanted = max([self.wanted, *(self.position[step_id] + 1 for step_id in step_ids)])
        self.more.set()

    def _task(self, step: PlanStep) -> Callable[[], Any]:
        async def run() -> dict[str, Any]:
            self.tasks_here[step.id] = current_task_id()
            return (await run_step(self.state, step)).to_record()

        return named_task(run, step.id)

    def _watch(self, step_id: str) -> Callable[[asyncio.Future[Any]], None]:
        def done(future: asyncio.Future[Any]) -> None:
            self.window.leave()
            self.state.arrived(step_id)
            if future.cancelled():
                self._fatal(asyncio.CancelledError())
                return
            error = future.exception()
            if isinstance(error, GraphBubbleUp):
                self._guarded(self._waiting, step_id, error)
            elif error is not None:
                self._fatal(error)
            else:
                self._guarded(self._returned, step_id, future.result())

        return done

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call something from a callback, where an exception would be lost and the run would wait for ever."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 - it ends the run, in the task that runs it
            self._fatal(error)

    def _returned(self, step_id: str, record: dict[str, Any]) -> None:
        """Settle the step when its record is acknowledged: at once if that was in an earlier life of the run."""
        here = self.tasks_here.get(step_id)
        acknowledgements = self.state.acknowledgements
        if here is None or acknowledgements is None:
            self._acknowledged(step_id, record)
            return
        stored = acknowledgements.of(here)

        def settle(_: object) -> None:
            if stored.cancelled():
                return
            error = stored.exception()
            if error is None:
                self._guarded(self._acknowledged, step_id, record)
            else:
                self._fatal(error)

        settle(None) if stored.done() else stored.add_done_callback(settle)

    def _acknowledged(self, step_id: str, record: dict[str, Any]) -> None:
        outcome = StepOutcome.from_record(record)
        if outcome.status != "succeeded" or step_id in self.state.results:
            self._settle(outcome)
        elif not outcome.blobs:
            self._know(outcome, outcome.value)
        else:
            loader = asyncio.create_task(self._load(outcome))
            self.loading.add(loader)
            loader.add_done_callback(self.loading.discard)

    async def _load(self, outcome: StepOutcome) -> None:
        try:
            value = await load(outcome, self.state.blobs, self.state.codecs)
        except Exception as error:  # noqa: BLE001 -- it ends the run, in the task that runs it
            self._fatal(error)
        else:
            self._know(outcome, value)

    def _know(self, outcome: StepOutcome, value: Any) -> None:
        mapped = self.state.steps[outcome.step_id].for_each is not None
        self.state.results[outcome.step_id] = (self.state.specs[outcome.step_id], value, mapped)
        self._settle(outcome)

    def _settle(self, outcome: StepOutcome) -> None:
        state, step = self.state, self.state.steps[outcome.step_id]
        state.outcomes[step.id] = outcome
        if step.id in self.tasks_here or (state.told is not None and step.id not in state.told):
            self._publish(outcome)
        if outcome.failed and not step.optional and state.stop_on_failure and state.stop_reason is None:
            grace = state.limits.grace.total_seconds()
            state.stop("failure", f"step {step.id!r} {outcome.status}", grace)
        future = state.future(step.id)
        if not future.done():
            future.set_result(outcome)
        dependents = self.dependents[step.id]
        for other in dependents:
            self.unmet[other] -= 1
        self._ready(other for other in dependents if self.unmet[other] == 0)
        self._closed()

    def _publish(self, outcome: StepOutcome) -> None:
        publish = self.state.publisher.publish
        match outcome.status:
            case "succeeded":
                outputs = self.state.named_outputs(outcome.step_id)
                details = {"kept": True} if outcome.step_id in self.state.taken else {}
                publish(
                    "step_success", outcome.step_id, step_outputs=outputs, attempt=outcome.attempts, details=details
                )
            case "skipped":
                publish("step_skipped", outcome.step_id, message=outcome.error, details={"reason": outcome.reason})
            case _:
                error = f"{outcome.error_type}: {outcome.error}"
                publish("step_failure", outcome.step_id, error=error, attempt=outcome.attempts, message=outcome.status)

    def _waiting(self, step_id: str, error: GraphBubbleUp) -> None:
        """Keep what is asked; what depends on the step ends without an outcome, and is called again on resume."""
        state = self.state
        if state.acknowledgements is None:
            outcome = StepOutcome(
                step_id=step_id,
                ref=state.specs[step_id].ref,
                status="failed",
                error_type="NobodyToAsk",
                error="it asks a person, and a run without a checkpointer cannot wait for the answer; give one",
                finished_at=datetime.now(UTC),
            )
            self._settle(outcome)
            return
        for interrupt in error.args[0] if error.args else ():
            value = without(interrupt.value, state.secrets)
            pending = read_question(interrupt.id, value, step_id)
            if pending not in self.state.interrupts:
                self.state.interrupts.append(pending)
                self.state.publisher.publish("waiting", step_id, details={"interrupt": interrupt.id, "value": value})
        future = self.state.future(step_id)
        if not future.done():
            future.set_exception(GraphInterrupt(()))
            future.exception()  # a step that nothing depends on is not "never retrieved"
        self._closed()

    def _fatal(self, error: BaseException) -> None:
        """End the run in this process: its store refused a write, or something of ours is broken."""
        self.state.break_off(error)
        if isinstance(error, asyncio.CancelledError):
            self.finished.cancel()
        elif not self.finished.done():
            self.finished.set_exception(error)
        self.more.set()
        self.window.leave()

    def _closed(self) -> None:
        """Note that a called step has been settled, or waits; the last one ends the run in this process."""
        self.open -= 1
        if self.open == 0 and self.called >= self.wanted and not self.finished.done():
            self.finished.set_result(None)
            self.more.set()
