"""Writes down what happens in one run while this process holds its lease: events in order, its status, its end."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from time import monotonic
from typing import Any

from planner.context import RunImportance
from planner.errors import LeaseLost
from planner.events import ExecutionEvent
from planner.execution.keeper import LeaseKeeper, News
from planner.execution.outcome import ExecutionResult, RunStatus
from planner.execution.people import next_deadline
from planner.execution.request import RunRequest
from planner.execution.run_fields import (
    event_columns,
    event_fields,
    reason_of,
    result_error_type,
    result_field,
    run_columns,
)
from planner.execution.secrets import secrets_in
from planner.execution.state import RunState
from storage.errors import Fenced, StorageError, StorageUnavailable
from storage.records import Change, Value
from storage.runs import KEPT, Ended, Granted, Released, RunStore, Then, Update
from storage.serde import ValueCodec

logger = logging.getLogger("goalgraph")

TOGETHER = 200
"""Events stored in one call, at most."""
LINGER = 0.1
"""Seconds that an event may wait for others, so that a short run is written in one call, also in a busy process."""
PAUSES = (0.05, 2.0)
"""Seconds before a write is tried again: the first, doubled each time, up to the last."""
HAND_BACK = 1.0
"""Seconds that giving a run back may take; then its lease runs out by itself."""
FINISHED = ("step_success", "step_failure", "step_skipped", "compensation_success", "compensation_failure")
"""Phases that show that a run gets on."""
OVER = ("success", "failure", "cancelled")
"""Phases that tell how a run ended: in the log only together with its end."""


@dataclass(slots=True)
class Spent:
    """What a run has taken so far, over all its executions; kept beside it."""

    attempts: int = 0
    amount: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    """In which it was advanced; the time in which it waited, or nobody had it, is not counted."""
    events: int = 0
    """That were published, stored or not."""
    broken: int = 0
    """Executions in a row that an error ended which is no outcome, without a step having been finished."""

    @classmethod
    def read(cls, kept: bytes) -> "Spent":
        """Read what an earlier holder kept; a newer version may have counted more."""
        counted: dict[str, Any] = json.loads(kept) if kept else {}
        return cls(**{name: counted[name] for name in cls.__slots__ if name in counted})

    def packed(self) -> bytes:
        """Return what is kept for the next one."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()


@dataclass(frozen=True, slots=True)
class _Said:
    """A new status, or the end."""

    status: RunStatus
    result: ExecutionResult | None = None


class RunWriter:
    """Records one execution of a run beside it, under its lease. Nothing in the run waits for it but its end."""

    def __init__(
        self,
        live: RunStore,
        codec: ValueCodec,
        keeper: LeaseKeeper,
        request: RunRequest,
        granted: Granted,
        taken: float,
        largest: int,
    ) -> None:
        """`taken` is when the lease was asked for, on the clock of `monotonic`; `largest` bytes fit into a record."""
        self.granted = granted
        self.spent = Spent.read(granted.spent)
        self._live = live
        self._codec = codec
        self._keeper = keeper
        self._request = request
        self._run_id = request.context.run_id
        self._largest = largest
        self._secrets = secrets_in(request.user_inputs)
        self.terse = request.context.importance is RunImportance.ephemeral
        self._seq = granted.seq
        self._begun: dict[str | None, datetime] = {None: datetime.fromisoformat(granted.state.columns["started_at"])}
        """When a step was begun, and the run."""
        self._state: RunState | None = None
        self._on_news: Callable[[News], None] | None = None
        self._queue: asyncio.Queue[Change | _Said] = asyncio.Queue()
        self._storing: list[Change | _Said] = []
        """What is being stored, and may have been."""
        self._hurry = asyncio.Event()
        self._error: BaseException | None = None
        self._since, self._earlier = monotonic(), self.spent.seconds
        self._progress = False
        self._news: list[News] = ["cancelled"] if granted.cancelled else []
        self.hold = keeper.hold(self._run_id, granted.token, taken, self._hear)
        self._task = asyncio.create_task(self._write(), name=f"goalgraph-log-{self._run_id}")

    @property
    def token(self) -> int:
        """The fencing token, for the saver."""
        return self.granted.token

    @property
    def status(self) -> str:
        """What the record says when the run is taken up."""
        return self.granted.state.columns["status"]

    def bind(self, state: RunState, on_news: Callable[[News], None]) -> None:
        """Begin to record what `state` publishes; `on_news` hears what becomes of the lease, and of wishes to stop."""
        self._state = state
        spent = self.spent
        state.attempts, state.amount, state.tokens = spent.attempts, spent.amount, spent.tokens
        state.publisher.count = max(self._seq, spent.events) if self.terse else self._seq
        state.publisher.log = self.tell
        state.on_status = self.say
        self._on_news = on_news
        for news in self._news:
            on_news(news)
        if not self.granted.new:
            self.say("running")

    def tell(self, event: ExecutionEvent) -> None:
        """Take an event in; of an ephemeral run those of steps are not kept."""
        if event.phase in FINISHED:
            self._progress = True
            self.spent.broken = 0
        if self.terse and event.step_id is not None:
            return
        at = event.time or datetime.now(UTC)
        duration = None
        if event.phase == "step_start":
            self._begun[event.step_id] = at
        elif event.phase in ("step_success", "step_failure", *OVER):
            begun = self._begun.get(event.step_id)
            duration = None if begun is None else round((at - begun).total_seconds() * 1000)
        spec = None if self._state is None else self._state.specs.get(event.step_id or "")
        columns = event_columns(event, "" if spec is None else spec.name, duration)
        fields = event_fields(event, self._codec)
        self._queue.put_nowait(Change(kind="event", owner=self._run_id, at=at, fields=fields, columns=columns))

    def say(self, status: RunStatus) -> None:
        """Record a new status."""
        self._queue.put_nowait(_Said(status))

    async def end(self, result: ExecutionResult) -> None:
        """Record how the run ended, or what it waits for, and give the lease back.

        Raises:
            LeaseLost: the run is somebody else's by now; nothing of the end was recorded.
            StorageError: the store refuses it.
        """
        self._queue.put_nowait(_Said(result.status, result))
        self._hurry.set()
        try:
            await asyncio.shield(self._task)
        finally:
            self._keeper.drop(self.hold)
            self._task.cancel()
        if self._error is not None:
            raise self._error

    async def give_back(self, due_in: float, *, lost: bool = False) -> None:
        """Let others have the run in `due_in` seconds, and tell what happened until now, unless it is `lost` anyway.

        An end that was not stored has not happened: whoever goes on with the run comes to it again.
        """
        self._task.cancel()
        self._keeper.drop(self.hold)
        self._count()
        while not self._queue.empty():
            self._storing.append(self._queue.get_nowait())
        happened = takewhile(lambda item: not _over(item), self._storing)
        update = Update(
            events=[] if lost else [item for item in happened if isinstance(item, Change)],
            after=self._seq,  # of those that may have been stored a moment ago nothing is stored twice
            then=Released(due_in, self.granted.told),
            keep=self.spent.packed(),
            progress=self._progress,
        )
        try:
            async with asyncio.timeout(HAND_BACK):
                await self._live.update(self._run_id, self.token, update)
        except (StorageError, TimeoutError):  # then the lease runs out, which must not count as the death of a process
            self._keeper.owe(self._run_id, self.token, update)

    def _hear(self, news: News) -> None:
        self._news.append(news)
        if self._on_news is not None:
            self._on_news(news)

    def _count(self) -> None:
        if self._state is not None:
            spent, state = self.spent, self._state
            spent.attempts, spent.amount, spent.tokens = state.attempts, state.amount, state.tokens
            spent.events = state.publisher.count
            spent.seconds = self._earlier + monotonic() - self._since

    async def _write(self) -> None:
        """Store what is in the queue, what waits together in one call, until the end has been stored."""
        ended = False
        try:
            while not ended:
                self._storing = items = [await self._queue.get()]
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER):
                        await self._hurry.wait()
                while not self._queue.empty() and (len(items) < TOGETHER or _over(items[-1])):
                    items.append(self._queue.get_nowait())
                ended = await self._store(items)
                self._storing = []
        except (Fenced, LeaseLost):
            self._error = LeaseLost(self._run_id)
            self.hold.hear("lost")
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the run must not wait for ever
            self._error = error
            logger.warning("run %s can be recorded no longer: %s", self._run_id, error)
            self.hold.hear("lost")

    async def _store(self, items: list[Change | _Said]) -> bool:
        """Store a batch; return whether it was the end."""
        self._count()
        said = [item for item in items if isinstance(item, _Said)]
        change: Change | None = None
        counters: Mapping[str, float] = {}
        then: Then = KEPT
        ended = False
        if said:
            last = said[-1]
            change, counters = self._change(last), self._counters(last)
            if last.result is not None:
                ended, then = True, self._after(last.result)
        update = Update(
            change=change,
            counters=counters,
            events=[item for item in items if isinstance(item, Change)],
            after=self._seq,
            then=then,
            progress=self._progress,
            keep=self.spent.packed(),
        )
        self._seq = max(self._seq, await self._insist(update))  # without events a store need not know it
        return ended

    def _change(self, said: _Said) -> Change:
        """Return what a status changes in the record."""
        now, result, request = datetime.now(UTC), said.result, self._request
        started = self._begun[None]
        over = result is not None and said.status != "waiting"
        columns = run_columns(request, said.status, started, now if over else None, reason_of(result) if result else "")
        fields: dict[str, Value] = {}  # what it asks stays in the record while it goes on, so that it can be answered
        if result is not None:
            columns["error_type"] = result_error_type(result)
            fields = {"result": result_field(result, self._secrets, self._largest, self._codec)}
        return Change(kind="run", owner=self._run_id, at=now, fields=fields, columns=columns)

    def _counters(self, said: _Said) -> Mapping[str, float]:
        if said.result is None:
            return {}
        usage, spent = said.result.usage, self.spent
        counters: dict[str, Any] = {
            "steps": usage.steps,
            "attempts": usage.attempts,
            "total_tokens": usage.tokens,
            "cost": usage.amount,
            "seconds": spent.seconds,
        }
        return {name: float(amount) for name, amount in counters.items() if amount}

    def _after(self, result: ExecutionResult) -> Then:
        if result.status != "waiting":
            return Ended()
        deadline = next_deadline(result.interrupts)
        left = None if deadline is None else max(0.0, (deadline - datetime.now(UTC)).total_seconds())
        return Released(left, self.granted.told)

    async def _insist(self, update: Update) -> int:
        """Store `update`; a store that does not answer is asked again for as long as the lease lives."""
        pause, longest = PAUSES
        while True:
            self.hold.check()
            try:
                return await self._live.update(self._run_id, self.token, update)
            except StorageUnavailable as error:
                logger.info("run %s: a write is tried again: %s", self._run_id, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)


def _over(item: Change | _Said) -> bool:
    """Say whether this tells that the run is over, or waits."""
    if isinstance(item, _Said):
        return item.result is not None
    return item.columns["phase"] in OVER
