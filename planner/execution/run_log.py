"""Writes down what happens to runs: the record before the first step, each event in order, and how the run ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby

from planner.context import RunImportance
from planner.errors import RunConflict, RunNotRecorded
from planner.events import ExecutionEvent
from planner.execution.history import Start
from planner.execution.outcome import ExecutionResult
from planner.execution.run_fields import (
    broken_field,
    empty_result,
    event_columns,
    event_fields,
    result_error_type,
    result_field,
    run_columns,
    start_field,
)
from planner.execution.state import RunState
from storage.errors import StorageError, StorageUnavailable
from storage.protocols import RecordStore
from storage.records import Change, Value
from storage.serde import ValueCodec, strict_serializer

logger = logging.getLogger("goalgraph")

TOGETHER = 200
"""Events stored in one call, at most."""

LEAST_GRACE = 1.0
"""Seconds that the end of a run waits for its events to be stored, also where no step is given any grace."""
PAUSES = (0.05, 2.0)
"""Seconds before a write is tried again: the first, doubled each time, up to the last."""


class RunLog:
    """The runs of one executor, in a store.

    Args:
        records: Where runs and events go.
        codec: Turns what a user may have written into bytes; plain data only by default.
    """

    def __init__(self, records: RecordStore, codec: ValueCodec | None = None) -> None:
        self._records = records
        self._codec = codec or ValueCodec(strict_serializer())

    async def begin(self, state: RunState, start: Start, *, resumed: bool) -> "RunWriter":
        """Record that a run goes on, before anything of it does, and return who records the rest.

        Raises:
            RunConflict: the id is that of another run, whose checkpoints are not here.
            RunNotRecorded: the store does not take the record.
        """
        fields = {"start": start_field(state, self._codec)}
        if resumed:
            fields["result"] = empty_result(self._codec)
        columns = run_columns(state.context, state.plan.id, "running", start.started_at)
        run_id, now = state.context.run_id, datetime.now(UTC)
        change = Change(kind="run", owner=run_id, at=now, fields=fields, columns=columns)
        try:
            entry = None if resumed else await self._records.append(_new(change))
            if entry is None:
                await self._check(run_id, columns)
                entry = await self._records.append(change)
        except StorageError as error:
            raise RunNotRecorded(run_id, error) from error
        return RunWriter(self._records, self._codec, state, start, {} if entry is None else entry.counters)

    async def _check(self, run_id: str, columns: Mapping[str, str]) -> None:
        """Make sure that a record which is there already is of this run."""
        known = await self._records.latest("run", run_id)
        if known is None:
            return
        if any(known.columns.get(name) != columns[name] for name in ("org_id", "user_id")):
            raise RunConflict(f"run {run_id!r} was started by somebody else; use a new run id")
        if known.columns.get("plan_id") != columns["plan_id"]:
            raise RunConflict(f"run {run_id!r} was started with another plan; use a new run id")

    async def mend(self, state: RunState, start: Start, result: ExecutionResult) -> None:
        """Record how a run ended that ended before its record could say so; a store that fails is no reason to fail."""
        try:
            known = await self._records.latest("run", state.context.run_id)
            if known is not None and known.columns.get("status") != result.status:
                ends = [outcome.finished_at for outcome in result.outcomes.values() if outcome.finished_at is not None]
                at = max(ends, default=datetime.now(UTC))
                await self._records.append(_end(state, start, result, known.counters, self._codec, at))
        except StorageError as error:
            logger.warning("run %s: its record still says that it goes on: %s", state.context.run_id, error)


class RunWriter:
    """Records one execution of a run, in order, beside it; what the run does never waits for it until its end."""

    def __init__(
        self, records: RecordStore, codec: ValueCodec, state: RunState, start: Start, counters: Mapping[str, float]
    ) -> None:
        """`counters` are those of the earlier executions of the run."""
        self._records = records
        self._codec = codec
        self._state = state
        self._start = start
        self._counters = counters
        self._run_id = state.context.run_id
        self._terse = state.context.importance is RunImportance.ephemeral
        self._begun: dict[str | None, datetime] = {None: start.started_at}
        """When a step was begun, and the run."""
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()
        self._patient = True
        self._lost = 0
        self._task = asyncio.create_task(self._write(), name=f"goalgraph-log-{self._run_id}")

    def tell(self, event: ExecutionEvent) -> None:
        """Take an event in; of an ephemeral run those of steps are not kept."""
        if self._terse and event.step_id is not None:
            return
        at = event.time or datetime.now(UTC)
        duration = None
        if event.phase == "step_start":
            self._begun[event.step_id] = at
        elif event.phase in ("step_success", "step_failure", "success", "failure", "cancelled"):
            begun = self._begun.get(event.step_id)
            duration = None if begun is None else round((at - begun).total_seconds() * 1000)
        spec = self._state.specs.get(event.step_id or "")
        columns = event_columns(event, "" if spec is None else spec.name, duration)
        fields = event_fields(event, self._codec)
        self._queue.put_nowait(Change(kind="event", owner=self._run_id, at=at, fields=fields, columns=columns))

    def end(self, result: ExecutionResult) -> None:
        """Record that the run has ended, or waits."""
        now = datetime.now(UTC)
        self._queue.put_nowait(_end(self._state, self._start, result, self._counters, self._codec, now))

    def break_off(self, error: Exception) -> None:
        """Record that the run could not be advanced; it goes on when it is called again.

        As that is mostly a store which does not answer, nothing is tried twice from now on.
        """
        self._patient = False
        now, state = datetime.now(UTC), self._state
        columns = run_columns(state.context, state.plan.id, "failed", self._start.started_at, now)
        columns["error_type"] = type(error).__name__
        fields: Mapping[str, Value] = {"result": broken_field(error, state, self._codec)}
        self._queue.put_nowait(Change(kind="run", owner=self._run_id, at=now, fields=fields, columns=columns))

    async def close(self) -> None:
        """Wait until everything is stored, but not for ever."""
        self._queue.put_nowait(None)
        grace = max(LEAST_GRACE, self._state.limits.grace.total_seconds())
        try:
            done, _ = await asyncio.wait({self._task}, timeout=grace)
            if not done:
                self._lost += self._queue.qsize()
        finally:
            self.abandon()
        await asyncio.wait({self._task}, timeout=1)
        if self._lost:
            logger.warning("run %s: %d of its events could not be stored", self._run_id, self._lost)

    def abandon(self) -> None:
        """Write nothing more."""
        self._task.cancel()

    async def _write(self) -> None:
        """Store what is in the queue, events that wait together in one call."""
        open_ended = True
        while open_ended:
            waiting = [await self._queue.get()]
            while not self._queue.empty() and len(waiting) < TOGETHER:
                waiting.append(self._queue.get_nowait())
            open_ended = None not in waiting
            for kind, several in groupby((change for change in waiting if change), key=lambda change: change.kind):
                await self._store(kind, list(several))

    async def _store(self, kind: str, changes: Sequence[Change]) -> None:
        try:
            if kind == "event":
                await self._insist(lambda: self._records.append_all(changes))
                return
            for change in changes:
                await self._insist(lambda change=change: self._records.append(change))
        except Exception as error:  # noqa: BLE001 - any store may be behind the protocol; its failure is not the run's
            if not self._lost:
                logger.warning("run %s: events could not be stored: %s", self._run_id, error)
            self._lost += len(changes)

    async def _insist(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work`; a store that does not answer is asked again, so an event may be stored twice."""
        pause, longest = PAUSES
        while True:
            try:
                await work()
            except StorageUnavailable:
                if not self._patient:
                    raise
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


def _new(change: Change) -> Change:
    return replace(change, must="be_new")


def _end(
    state: RunState, start: Start, result: ExecutionResult, before: Mapping[str, float], codec: ValueCodec, at: datetime
) -> Change:
    """Return what is stored at the end of an execution."""
    usage = result.usage
    columns = run_columns(
        state.context, state.plan.id, result.status, start.started_at, None if result.status == "waiting" else at
    )
    columns["error_type"] = result_error_type(result)
    increments = {
        "steps": usage.steps - before.get("steps", 0),  # the usage counts the steps of earlier executions too
        "attempts": usage.attempts,
        "total_tokens": usage.tokens,
        "cost": usage.amount,
        "seconds": usage.seconds,
    }
    return Change(
        kind="run",
        owner=state.context.run_id,
        at=at,
        fields={"result": result_field(result, state, codec)},
        columns=columns,
        increments={name: amount for name, amount in increments.items() if amount},
    )
