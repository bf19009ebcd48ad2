"""A plan becomes a result: check it, run it as a LangGraph graph in its own context, gather what became of it."""

import asyncio
import contextvars
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from planner.catalog import ActionCatalog
from planner.events import emit
from planner.execution.acknowledge import Acknowledgements, AcknowledgingSaver
from planner.execution.admission import preview, refuse
from planner.execution.body import make_graph
from planner.execution.gate import Gates, Rates
from planner.execution.history import History, Start, pinned, read_history
from planner.execution.outcome import ExecutionResult, RunStatus
from planner.execution.publisher import Publisher
from planner.execution.request import RunRequest
from planner.execution.run_log import RunLog, RunWriter
from planner.execution.secrets import secrets_in
from planner.execution.state import RunState
from planner.execution.summary import not_advanced, restore, result_of
from planner.limits import Limits
from planner.plan import CandidatePlan, build_graph, resolve_step
from storage.memory import MemoryBlobStore
from storage.protocols import BlobStore, RecordStore
from storage.serde import ValueCodec

LARGE_PLAN = 500
"""Steps; a larger plan is checked in a thread, since that takes long enough to be felt by everything else."""


@dataclass(slots=True)
class Active:
    """A run that this process advances."""

    start: Start
    state: RunState
    runner: asyncio.Task[ExecutionResult]
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    """Callers that wait for it; when the last is cancelled, so is the run."""

    def abort(self) -> None:
        """Give the run up: it was stopped and does not end, because its store does not answer."""
        self.runner.cancel()
        self.aborted.set()

    async def ended(self) -> bool:
        """Wait until the run has ended, or was given up; return which."""
        aborted = asyncio.create_task(self.aborted.wait())
        try:
            await asyncio.wait({self.runner, aborted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            aborted.cancel()
        return self.runner.done() and not self.runner.cancelled()


class PlanExecutor:
    """Runs plans over one catalog.

    Args:
        catalog: Whose actions are called.
        checkpointer: Where outcomes are stored; any LangGraph saver, or `None` to keep them in memory for the run.
        limits: Bounds of each run.
        blobs: Where large outputs go; in memory by default, so a run with large outputs resumes in this process only.
        records: Where each run leaves its record and its events; without it, none are kept.
        codec: How they are written; as plain data by default.
    """

    def __init__(
        self,
        catalog: ActionCatalog,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
        records: RecordStore | None = None,
        codec: ValueCodec | None = None,
    ) -> None:
        self.catalog = catalog
        self.checkpointer = checkpointer
        self.limits = limits or Limits()
        self.blobs = blobs or MemoryBlobStore()
        self._log = None if records is None else RunLog(records, codec)
        self._rates = Rates()
        self._active: dict[str, Active] = {}
        self._entering: dict[str, int] = {}
        """Runs that are being checked, and for how many callers."""
        self._cancelled: set[str] = set()
        """Of those, the ones that were cancelled meanwhile."""

    async def execute(self, request: RunRequest) -> ExecutionResult:
        """Run a plan that passes validation, or return why it was not run.

        A run id that the checkpointer knows is resumed: finished steps are not repeated. One that is under way in this
        process is joined. When the last call that waits for a run is cancelled, so is the run: its actions are stopped
        and it has ended.

        Raises:
            RunConflict: the run id belongs to another plan, to somebody else, or to other inputs.
            UnknownQuestion: an answer is given to what was never asked.
            RunNotRecorded: `records` does not take the record of the run, so nothing was started.
            Exception: what the checkpointer or the blob store raised; the run goes on when it is called again.
        """
        if request.dry_run:
            return await self._show(request)
        run_id = request.context.run_id
        self._entering[run_id] = self._entering.get(run_id, 0) + 1
        try:
            active = await self._enter(request)
        finally:
            self._entering[run_id] -= 1
            if self._entering[run_id] == 0:
                del self._entering[run_id]
                self._cancelled.discard(run_id)
        if isinstance(active, ExecutionResult):
            await emit(request.on_event, active.errors[0])
            return active
        return await self._wait(active, request)

    def cancel(self, run_id: str) -> bool:
        """Stop a run of this process: its actions are cancelled, nothing new starts. Returns whether there was one."""
        active = self._active.get(run_id)
        if active is not None:
            active.state.stop("cancelled", "it was cancelled", 0)
        elif run_id in self._entering:
            self._cancelled.add(run_id)
        return active is not None or run_id in self._entering

    async def _show(self, request: RunRequest) -> ExecutionResult:
        """Return what a dry run shows."""
        reason, validation = refuse(request.plan, request, self.catalog, self.limits)
        if reason is not None:
            return not_advanced(request, "failed", reason, validation)
        context = request.context
        return ExecutionResult(
            ok=True,
            outputs={},
            status="pending",
            run_id=context.run_id,
            plan_id=request.plan.id,
            preview=preview(request, self.catalog),
            validation=validation,
            tags=context.tags,
        )

    async def _enter(self, request: RunRequest) -> Active | ExecutionResult:
        """Return the run that a request means, begun or joined, or why it is not run."""
        run_id = request.context.run_id
        active = self._active.get(run_id)
        history = History(start=active.start) if active else await read_history(self.checkpointer, run_id)
        if history.start is not None:
            history.start.check(request)
        if active is None:
            history.check_answers(request.answers)
        plan = pinned(request.plan, history.start)
        if history.final is None:
            large = len(plan.steps) > LARGE_PLAN
            arguments = (plan, request, self.catalog, self.limits)
            reason, validation = await asyncio.to_thread(refuse, *arguments) if large else refuse(*arguments)
            if reason is not None:
                return not_advanced(request, "failed", reason, validation)
        if run_id in self._cancelled:
            return not_advanced(request, "cancelled", "Cancelled: it was cancelled before it started")
        if (active := self._active.get(run_id)) is not None:  # perhaps begun while this call was being checked
            active.start.check(request)
            return active
        return self._begin(request, plan, history)

    def _begin(self, request: RunRequest, plan: CandidatePlan, history: History) -> Active:
        """Advance the run in a task of its own."""
        run_id = request.context.run_id
        start = history.start or Start.of(request, self.catalog, datetime.now(UTC))
        state = self._state(request, plan)
        context = contextvars.copy_context()
        context.run(var_child_runnable_config.set, None)  # inside somebody's node, their thread must not become ours
        work = self._advance(request, state, start, history)
        runner = asyncio.create_task(work, name=f"goalgraph-run-{run_id}", context=context)
        active = self._active[run_id] = Active(start, state, runner)
        state.abort = active.abort
        runner.add_done_callback(lambda _: self._active.pop(run_id, None))
        return active

    async def _wait(self, active: Active, request: RunRequest) -> ExecutionResult:
        """Wait for a run; whoever gives up last stops it."""
        active.waiting += 1
        try:
            if await active.ended():
                return active.runner.result()
        except asyncio.CancelledError:
            if active.waiting == 1:
                active.state.stop("cancelled", "the caller was cancelled", 0)
                await active.ended()
            raise
        finally:
            active.waiting -= 1
        status: RunStatus = "cancelled" if active.state.stop_reason == "cancelled" else "failed"
        return not_advanced(request, status, f"Stopped: {active.state.stop_message}; its store did not answer")

    def _state(self, request: RunRequest, plan: CandidatePlan) -> RunState:
        stopping = asyncio.Event()
        secrets = secrets_in(request.user_inputs)
        return RunState(
            plan=plan,
            graph=build_graph(plan),
            specs={step.id: resolve_step(step, self.catalog) for step in plan.steps},
            user_inputs=dict(request.user_inputs),
            context=request.context,
            limits=self.limits,
            codecs=self.catalog.codecs,
            blobs=self.blobs,
            gates=Gates(self.limits.concurrency, self._rates, stopping),
            stopping=stopping,
            secrets=secrets,
            publisher=Publisher(request.context.run_id, request.on_event, self.limits, secrets),
            acknowledgements=None if self.checkpointer is None else Acknowledgements(),
            stop_on_failure=request.stop_on_failure,
        )

    async def _advance(self, request: RunRequest, state: RunState, start: Start, history: History) -> ExecutionResult:
        """Run to the end, to a question, or until the store refuses a write."""
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        left = self.limits.run_timeout - (datetime.now(UTC) - start.started_at)
        message = f"LimitExceeded: the run took longer than the limit 'run_timeout' of {self.limits.run_timeout}"
        deadline = loop.call_later(max(0.0, left.total_seconds()), state.stop, "deadline", message, 0)
        ended, writer = True, None
        try:
            if history.final is not None:
                await restore(history.final, state)
            else:
                resumed = history.start is not None
                writer = await self._record(state, start, resumed=resumed)
                state.publisher.publish("start", message=request.plan.goal or None, details={"resumed": resumed})
                ended = await self._run_graph(request, state, start, resumed=resumed)
            result = result_of(request, state, loop.time() - began, ended=ended)
            if writer is not None:
                writer.end(result)
            elif self._log is not None:
                await self._log.mend(state, start, result)
            return result
        except Exception as error:  # listeners hear of it as well as the caller
            state.publisher.publish("failure", error=f"{type(error).__name__}: {error}")
            if writer is not None:
                writer.break_off(error)
            raise
        except asyncio.CancelledError:  # given up, because a store does not answer
            if writer is not None:
                writer.abandon()
            raise
        finally:
            deadline.cancel()
            state.close()
            await state.publisher.close()
            if writer is not None:
                await writer.close()

    async def _record(self, state: RunState, start: Start, *, resumed: bool) -> RunWriter | None:
        """Leave the record of a run before its first step, and have its events follow."""
        if self._log is None:
            return None
        writer = await self._log.begin(state, start, resumed=resumed)
        state.publisher.log = writer.tell
        return writer

    async def _run_graph(self, request: RunRequest, state: RunState, start: Start, *, resumed: bool) -> bool:
        """Invoke LangGraph; return whether the run ended, and does not wait for a person."""
        saver, durability = None, None
        if self.checkpointer is not None and state.acknowledgements is not None:
            saver, durability = AcknowledgingSaver(self.checkpointer, state.acknowledgements), "sync"
        given: Any = start.to_record()
        if resumed:
            given = Command(resume=dict(request.answers)) if request.answers else None
        config: RunnableConfig = {"configurable": {"thread_id": request.context.run_id}, "run_name": "goalgraph_run"}
        final: object = await cast("Any", make_graph(state, saver)).ainvoke(given, config, durability=durability)
        if not isinstance(final, Mapping) or "records" not in final:
            return False
        if len(state.outcomes) < len(state.steps):  # all had been done, and only the last checkpoint was missing
            await restore(cast("Mapping[str, Any]", final), state)
        return True
