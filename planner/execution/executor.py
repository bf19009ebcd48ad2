"""A plan becomes a result: check it, run it as a LangGraph graph in its own context, gather what became of it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from os import getpid
from socket import gethostname
from typing import Any, cast

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from planner.catalog import ActionCatalog
from planner.catalog.spec import Effect
from planner.context import RequestIdentity
from planner.errors import LeaseLost
from planner.events import emit
from planner.execution.acknowledge import Acknowledgements, AcknowledgingSaver
from planner.execution.active import Active, Entering, Turns
from planner.execution.admission import dry_run, refuse_in_time
from planner.execution.body import make_graph
from planner.execution.gate import Gates, Rates
from planner.execution.history import History, Start, pinned, read_history
from planner.execution.interruption import LEFT_ALONE, MOST_CRASHES, break_off, follow_lease, poisoned, turn_away
from planner.execution.keeper import LEASE, LeaseKeeper
from planner.execution.outcome import ExecutionResult, RunStatus
from planner.execution.people import check_answers
from planner.execution.publisher import Publisher
from planner.execution.read_result import result_of_record
from planner.execution.request import RunRequest
from planner.execution.run_log import RunLog, RunStores, Taken
from planner.execution.run_records import RunRecord, read_answers, read_run
from planner.execution.run_writer import RunWriter
from planner.execution.secrets import secrets_in
from planner.execution.state import RunState
from planner.execution.summary import not_advanced, restore, result_of
from planner.limits import Limits
from planner.plan import CandidatePlan, ValidationResult, build_graph, resolve_step
from planner.plan.replanning import Replanner
from storage.errors import Fenced
from storage.memory import MemoryBlobStore
from storage.protocols import BlobStore
from storage.runs import FENCE, Refused


class PlanExecutor:
    """Runs plans over one catalog.

    Args:
        catalog: Whose actions are called.
        checkpointer: Where outcomes are stored; any LangGraph saver, or `None` to keep them in memory for the run.
        limits: Bounds of each run.
        blobs: Where large outputs go; in memory by default, so a run with large outputs resumes in this process only.
        stores: Where each run leaves its record and its events, under a lease; without it, none are kept.
        lease: Seconds that a lease runs without being renewed.
        holder: Tells people which process advances a run.
    """

    def __init__(
        self,
        catalog: ActionCatalog,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
        *,
        stores: RunStores | None = None,
        lease: float = LEASE,
        holder: str = "",
    ) -> None:
        self.catalog = catalog
        self.checkpointer = checkpointer
        self.limits = limits or Limits()
        self.blobs = blobs or MemoryBlobStore()
        self.approve_effects: frozenset[Effect] = frozenset()
        """Effects whose actions need a person's approval, also where they do not ask for it."""
        self.replanner: Replanner | None = None
        """Asked for a new tail of a plan that failed; set by whoever can draft."""
        self.log: RunLog | None = None
        if stores is not None:
            self.log = RunLog(
                stores,
                LeaseKeeper(stores.renewer, lease),
                limits=self.limits,
                codecs=catalog.codecs,
                blobs=self.blobs,
                holder=holder or f"{gethostname()}:{getpid()}",
            )
        self._rates = Rates()
        self._active: dict[str, Active] = {}
        self._turns = Turns()

    async def execute(self, request: RunRequest, *, record: bool = True) -> ExecutionResult:
        """Run a plan that passes validation, or return why it was not run.

        A run id that the checkpointer knows is resumed: finished steps are not repeated. One that is under way in this
        process is joined. When the last call that waits for a run is cancelled, so is the run: its actions are stopped
        and it has ended.

        Args:
            request: What is to be run.
            record: Whether it leaves a record, where runs do.

        Raises:
            RunConflict: the run id belongs to another plan, to somebody else, or to other inputs.
            UnknownQuestion: an answer is given to what was never asked.
            RunNotRecorded: the store does not take the record of the run, so nothing was started.
            RunHeld: another process advances the run. LeaseLost: another one has taken it over, or will.
            Exception: what the checkpointer or the blob store raised; the run goes on when it is called again.
        """
        if request.dry_run:
            return dry_run(request, self.catalog, self.limits)
        begun = await self.begin(request, record=record)
        return begun if isinstance(begun, ExecutionResult) else await self.join(begun, request)

    async def check(self, request: RunRequest) -> ExecutionResult | None:
        """Return why a plan would not be run, or `None`."""
        reason, validation = await self._refuse(request.plan, request)
        return None if reason is None else not_advanced(request, "failed", reason, validation)

    async def begin(
        self, request: RunRequest, calls: Sequence[str] = (), *, record: bool = True
    ) -> Active | ExecutionResult:
        """Take a run up, or return what became of it: it has ended, or the plan is not run.

        Args:
            request: What is to be run.
            calls: Callbacks for its end, when it is new: registered names, or URLs.
            record: As `execute`.

        Raises:
            Exception: as `execute`. When this returns, the run is recorded, where runs are.
        """
        async with self._turns.of(request.context.run_id) as entering:
            begun = await self._enter(request, calls, entering, self.log if record else None, None)
        if isinstance(begun, ExecutionResult) and begun.errors:
            await emit(request.on_event, begun.errors[0])
        return begun

    async def begin_recorded(
        self, run_id: str, read: Callable[[Taken], Awaitable[RunRequest | None]]
    ) -> tuple[RunRequest, Active | ExecutionResult] | None:
        """Take up a run as its record says, unless that is not possible now.

        Args:
            run_id: The run.
            read: Reads the request; what it does not return a request for, it has let go.

        Raises:
            Exception: as `execute`, and what `read` raises.
        """
        async with self._turns.of(run_id) as entering:
            taken = None if self.log is None or run_id in self._active else await self.log.take(run_id)
            request = None if taken is None else await read(taken)
            if request is None:
                return None
            return request, await self._enter(request, (), entering, self.log, taken)

    async def recall(self, request: RunRequest, record: RunRecord) -> ExecutionResult:
        """Return what became of a run that has ended, as its checkpoints tell, or else its record; nothing is run."""
        history = await read_history(self.checkpointer, request.context.run_id, request.attempt)
        if history.final is None or history.start is None:
            return result_of_record(record)
        history.start.check(request)
        state = self._state(history.start.apply(request), pinned(request.plan, history.start))
        try:
            await restore(history.final, state)
            return replace(result_of(request, state, 0.0, ended=True), usage=record.usage)
        finally:
            state.close()
            await state.publisher.close()

    def cancel(self, run_id: str, owner: RequestIdentity | None = None) -> bool:
        """Stop a run of this process, if there is one: its actions are cancelled, nothing new starts.

        Args:
            run_id: The run.
            owner: Only if it is theirs.
        """
        active, entering = self._active.get(run_id), self._turns.of_now(run_id)
        if active is not None and owner is not None and active.start.owner != [owner.org_id, owner.user_id]:
            return False
        if active is not None:
            active.state.stop("cancelled", "it was cancelled", 0)
        elif entering is not None:
            entering.stops.append(owner)
        return active is not None or entering is not None

    @property
    def active(self) -> Sequence[str]:
        """The runs that this process advances now."""
        return list(self._active)

    async def hand_back(self, grace: float) -> None:
        """Leave all runs to other processes, after the actions that work now have had `grace` seconds to finish."""
        await asyncio.gather(*(active.hand_back(grace) for active in list(self._active.values())))

    def close(self) -> None:
        """Let go of what renews the leases."""
        if self.log is not None:
            self.log.keeper.close()

    async def _enter(
        self,
        request: RunRequest,
        calls: Sequence[str],
        entering: Entering,
        log: RunLog | None,
        taken: Taken | None,
    ) -> Active | ExecutionResult:
        """Return the run that a request means, begun or joined, or why it is not run."""
        run_id = request.context.run_id
        if (active := self._active.get(run_id)) is not None:
            active.start.check(request)
            return active
        reason, validation = await self._refuse(request.plan, request)
        if taken is None and entering.cancelled(request.context.identity):
            return not_advanced(request, "cancelled", "Cancelled: it was cancelled before it started")
        writer: RunWriter | None = None
        if log is not None:
            entered = await log.enter(request, create=reason is None, calls=calls, taken=taken)
            if isinstance(entered, RunWriter):
                writer = entered
            elif entered.why == "ended":
                return await self._ended(request, entered)
            else:
                return not_advanced(request, "failed", reason or entered.why, validation)
        try:
            begun = await self._take_up(request, writer, reason, validation)
            if isinstance(begun, Active) and entering.cancelled(request.context.identity):
                begun.state.stop("cancelled", "it was cancelled", 0)
            return begun
        except BaseException as error:  # whatever it is, it is raised again
            if writer is not None:
                await turn_away(request, writer, error)
            raise

    async def _take_up(
        self, request: RunRequest, writer: RunWriter | None, reason: str | None, validation: ValidationResult
    ) -> Active | ExecutionResult:
        """Begin a run that nobody else advances, or go on with it."""
        history = await read_history(self.checkpointer, request.context.run_id, request.attempt)
        if history.start is not None:
            history.start.check(request)
        if request.answers:  # without any it stays the request of its caller, who knows it again
            identity, most = request.context.identity, self.limits.literal_bytes
            request = replace(request, answers=check_answers(history.asked, request.answers, identity, most))
        plan = pinned(request.plan, history.start)
        if history.start is not None and history.final is None:
            reason, validation = await self._refuse(plan, request)
        if reason is not None and history.final is None:
            if writer is not None:
                await writer.give_back(LEFT_ALONE)  # this catalog cannot run it, so others may
            return not_advanced(request, "failed", reason, validation)
        if writer is not None and writer.granted.crashes >= MOST_CRASHES and not writer.granted.cancelled:
            return await poisoned(request, writer)
        return self._begin(request, plan, history, writer)

    async def _refuse(self, plan: CandidatePlan, request: RunRequest) -> tuple[str | None, ValidationResult]:
        """Say why a plan is not run, if so."""
        asks = {"can_ask": self.checkpointer is not None, "approve_effects": self.approve_effects}
        return await refuse_in_time(plan, request, self.catalog, self.limits, **asks)

    async def _ended(self, request: RunRequest, refused: Refused) -> ExecutionResult:
        """Return what became of a run that has ended."""
        if refused.state is None or self.log is None:
            return not_advanced(request, "failed", "RunNotFound: its record is not there")
        return await self.recall(request, read_run(refused.state, self.log.stores.codec))

    def _begin(self, request: RunRequest, plan: CandidatePlan, history: History, writer: RunWriter | None) -> Active:
        """Advance the run in a task of its own."""
        run_id = request.context.run_id
        start = history.start or Start.of(request, self.catalog, datetime.now(UTC))
        state = self._state(start.apply(request), plan)
        context = contextvars.copy_context()
        context.run(var_child_runnable_config.set, None)  # inside somebody's node, their thread must not become ours
        work = self._advance(request, state, start, history, writer)
        runner = asyncio.create_task(work, name=f"goalgraph-run-{run_id}", context=context)
        new = writer is not None and writer.granted.new
        active = self._active[run_id] = Active(start, state, runner, request, new)
        state.abort = active.abort
        runner.add_done_callback(lambda _: self._active.pop(run_id, None))
        return active

    async def join(self, active: Active, request: RunRequest) -> ExecutionResult:
        """Wait for a run that was begun; whoever gives up last stops it. Raises: as `execute`."""
        active.waiting += 1
        try:
            if await active.ended():
                return active.runner.result()
        except asyncio.CancelledError:
            if active.waiting == 1 and not active.runner.done() and not active.handed_back:
                active.state.stop("cancelled", "the caller was cancelled", 0)
                await active.ended()
            raise
        finally:
            active.waiting -= 1
        if active.handed_back:
            raise LeaseLost(request.context.run_id)
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
            catalog=self.catalog,
            codecs=self.catalog.codecs,
            blobs=self.blobs,
            gates=Gates(self.limits.concurrency, self._rates, stopping),
            stopping=stopping,
            secrets=secrets,
            publisher=Publisher(request.context.run_id, request.on_event, self.limits, secrets),
            acknowledgements=None if self.checkpointer is None else Acknowledgements(),
            stop_on_failure=request.stop_on_failure,
            on_failure=request.on_failure,
            on_cancel=request.on_cancel,
            max_replans=request.max_replans,
            replanner=self.replanner,
            kept=request.kept,
            approve_effects=self.approve_effects,
        )

    async def _advance(
        self, request: RunRequest, state: RunState, start: Start, history: History, writer: RunWriter | None
    ) -> ExecutionResult:
        """Run to the end, to a question, or until the store refuses a write."""
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        taken = datetime.now(UTC) - start.started_at if writer is None else timedelta(seconds=writer.spent.seconds)
        left = self.limits.run_timeout - taken
        message = f"LimitExceeded: the run took longer than the limit 'run_timeout' of {self.limits.run_timeout}"
        deadline = loop.call_later(max(0.0, left.total_seconds()), state.stop, "deadline", message, 0)
        ended = True
        try:
            if writer is not None:
                follow_lease(writer, state, request)
            if history.final is not None:
                await restore(history.final, state)
            else:
                resumed = history.start is not None
                state.publisher.publish("start", message=request.plan.goal or None, details={"resumed": resumed})
                ended = await self._run_graph(request, state, start, history, writer)
            result = result_of(request, state, loop.time() - began, ended=ended)
            if writer is not None:
                await writer.end(result)
            return result
        except BaseException as error:  # whatever it is, it is raised again
            state.publisher.log = None  # what comes now is no event of the run
            if writer is None:
                if isinstance(error, Exception):  # listeners hear of it as well as the caller
                    state.publisher.publish("failure", error=f"{type(error).__name__}: {error}")
                raise
            await break_off(request, writer, error)
            if isinstance(error, Fenced):
                raise LeaseLost(request.context.run_id) from error
            raise
        finally:
            deadline.cancel()
            state.close()
            await state.publisher.close()

    async def _run_graph(
        self, request: RunRequest, state: RunState, start: Start, history: History, writer: RunWriter | None
    ) -> bool:
        """Invoke LangGraph; return whether the run ended, and does not wait for a person."""
        saver, durability = None, None
        if self.checkpointer is not None and state.acknowledgements is not None:
            saver = AcknowledgingSaver(self.checkpointer, state.acknowledgements, (history.found,))
            durability = "sync"
        given: Any = start.to_record()
        if history.start is not None:
            answers = history.to_resume({**request.answers, **self._told(writer)}, datetime.now(UTC))
            given = Command(resume=answers) if answers else None
            if writer is not None and self.log is not None and not writer.terse:  # else nobody knows what was told
                state.told = await self.log.told(request.context.run_id)
        configurable: dict[str, Any] = {"thread_id": request.context.run_id}
        if writer is not None and getattr(self.checkpointer, "fences", False):
            configurable[FENCE] = writer.token
        config: RunnableConfig = {"configurable": configurable, "run_name": "goalgraph_run"}
        final: object = await cast("Any", make_graph(state, saver)).ainvoke(given, config, durability=durability)
        if not isinstance(final, Mapping) or "records" not in final:
            return False
        if len(state.outcomes) < len(state.steps):  # all had been done, and only the last checkpoint was missing
            await restore(cast("Mapping[str, Any]", final), state)
        return True

    def _told(self, writer: RunWriter | None) -> Mapping[str, Any]:
        """Return what people answered, as far as it was known when the run was taken up."""
        if writer is None or self.log is None:
            return {}
        return read_answers(writer.granted.state, self.log.stores.codec)
