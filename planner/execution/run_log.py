"""The record of a run: entered before the first step, written under a lease, and ended in one call."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from planner.catalog import Codecs
from planner.errors import RunConflict, RunHeld, RunNotRecorded
from planner.execution.interruption import LEFT_ALONE
from planner.execution.keeper import LeaseKeeper
from planner.execution.outcome import RunStatus
from planner.execution.recorded import request_field
from planner.execution.request import RunRequest
from planner.execution.run_fields import empty_result, inputs_column, owner_columns, run_columns, start_field
from planner.execution.run_records import read_event
from planner.execution.run_writer import RunWriter
from planner.limits import Limits
from storage.errors import StorageError
from storage.protocols import BlobStore, RecordStore
from storage.records import Change, Entry
from storage.runs import Claim, Granted, LiveRuns, Refused, Released, RunStore, Update
from storage.serde import ValueCodec, strict_serializer

logger = logging.getLogger("goalgraph")

LAST_EVENTS = 1000
"""Of a log, that are read first when only its end matters."""
STEP_ENDS = frozenset({"step_success", "step_failure", "step_skipped"})
"""Phases of events that tell of a step's end."""


@dataclass(frozen=True, kw_only=True)
class RunStores:
    """Where runs are kept."""

    records: RecordStore
    live: LiveRuns
    renewer: Callable[[], AbstractAsyncContextManager[RunStore]] | None = None
    """Opens a store for leases only, in another thread; `None` when the runs live and end with this process."""
    codec: ValueCodec = field(default_factory=lambda: ValueCodec(strict_serializer()))
    """How records are written; as plain data by default."""


class Taken(NamedTuple):
    """A run that was taken up before it is known what it is."""

    granted: Granted
    at: float
    """When it was asked for, on the clock of `monotonic`."""


class RunLog:
    """The runs that one executor advances, in a store.

    Args:
        stores: Where they are kept.
        keeper: Renews the leases.
        limits: Bounds; what is larger than `blob_bytes` goes to `blobs`.
        codecs: Of the catalog.
        blobs: Where large inputs go.
        holder: Tells people which process it is.
    """

    def __init__(
        self,
        stores: RunStores,
        keeper: LeaseKeeper,
        *,
        limits: Limits,
        codecs: Codecs,
        blobs: BlobStore,
        holder: str,
    ) -> None:
        self.stores = stores
        self.keeper = keeper
        self.holder = holder
        self._limits = limits
        self._codecs = codecs
        self._blobs = blobs

    async def submit(
        self, request: RunRequest, *, calls: Sequence[str] = (), due_in: float = 0.0, again: bool = False
    ) -> bool:
        """Record a run that somebody is to take up; one that is there already stays as it is.

        Args:
            request: What is to be run.
            calls: Callbacks for its end: registered names, or URLs.
            due_in: Seconds.
            again: It has ended, and is begun anew.

        Returns:
            Whether it is new.

        Raises:
            RunConflict: the id is that of another run.
            SecretInPlan: the plan says what is secret.
            RunNotRecorded: the store does not take the record.
        """
        answer = await self._enter(request, None, "pending", calls=calls, due_in=due_in, again=again)
        return isinstance(answer, Granted) and answer.new

    async def told(self, run_id: str) -> set[str]:
        """Return the steps whose end is in the log of a run, since it was begun, or begun anew."""
        limit = LAST_EVENTS
        while True:
            entries = await self.stores.records.read("event", run_id, newest=True, limit=limit)
            told: set[str] = set()
            for entry in reversed(entries):
                if entry.columns.get("phase") in STEP_ENDS:
                    told.add(entry.columns["step_id"])
                elif self._begins(entry):
                    return told
            if len(entries) < limit:
                return told
            limit *= 4

    def _begins(self, entry: Entry) -> bool:
        if entry.columns.get("phase") != "start":  # of the others nothing is decoded, there may be many
            return False
        return not read_event(entry, self.stores.codec).details.get("resumed")

    async def take(self, run_id: str) -> Taken | None:
        """Take up a run that is there, to begin it as its record says; `None` when that is not possible now.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        await self.keeper.prepare(run_id, self.stores.live)
        at = monotonic()
        answer = await self.stores.live.enter(run_id, self._claim())
        return Taken(answer, at) if isinstance(answer, Granted) else None

    async def let_go(self, taken: Taken, due_in: float) -> None:
        """Leave a run that was taken up to others, as it was; later, when the store does not answer now."""
        granted = taken.granted
        run_id, update = granted.state.owner, Update(then=Released(due_in, granted.told))
        try:
            await self.stores.live.update(run_id, granted.token, update)
        except StorageError:
            self.keeper.owe(run_id, granted.token, update)

    def _claim(self) -> Claim:
        return Claim(holder=self.holder, seconds=self.keeper.seconds)

    async def enter(
        self, request: RunRequest, *, create: bool, calls: Sequence[str] = (), taken: Taken | None = None
    ) -> RunWriter | Refused:
        """Take a run up, and record it first when it is new; nothing of it has happened before this returns.

        Args:
            request: What is to be run.
            create: Whether it may be new.
            calls: Callbacks, when it is.
            taken: It has been taken up already.

        Returns:
            Who records the rest; or why there is nothing to advance: it has ended, or is not there.

        Raises:
            RunConflict: the id is that of another run.
            SecretInPlan: the plan says what is secret.
            RunHeld: another process advances it.
            RunNotRecorded: the store does not take the record.
        """
        run_id, at = request.context.run_id, monotonic() if taken is None else taken.at
        if taken is None:
            answer = await self._enter(request, self._claim(), "running" if create else None, calls=calls)
        else:
            answer = taken.granted
        match answer:
            case Refused(why="held", holder=holder, seconds=seconds):
                raise RunHeld(run_id, holder, seconds)
            case Refused():
                return answer
            case Granted():
                largest = self._limits.blob_bytes
                try:
                    return RunWriter(self.stores.live, self.stores.codec, self.keeper, request, answer, at, largest)
                except Exception:  # what is kept beside the run cannot be read, and nobody died of it
                    await self.let_go(Taken(answer, at), LEFT_ALONE)
                    raise

    async def _enter(
        self,
        request: RunRequest,
        claim: Claim | None,
        status: RunStatus | None,
        *,
        calls: Sequence[str],
        due_in: float = 0.0,
        again: bool = False,
    ) -> Granted | Refused:
        run_id, live = request.context.run_id, self.stores.live
        try:
            new = None if status is None else await self._first(request, status)
            if claim is not None:
                await self.keeper.prepare(run_id, live)
            expect = owner_columns(request) | ({} if request.recorded else inputs_column(request))
            answer = await live.enter(run_id, claim, new=new, expect=expect, due_in=due_in, calls=calls, again=again)
        except StorageError as error:
            raise RunNotRecorded(run_id, error) from error
        if isinstance(answer, Refused) and answer.why == "other":
            raise _conflict(run_id, {} if answer.state is None else answer.state.columns, expect)
        return answer

    async def _first(self, request: RunRequest, status: RunStatus) -> Change:
        """Return the first state of the record."""
        codec, largest, now = self.stores.codec, self._limits.blob_bytes, datetime.now(UTC)
        fields = {
            "start": start_field(request, largest, codec),
            "request": await request_field(request, self._codecs, self._blobs, largest, codec),
            "result": empty_result(codec),
        }
        columns = run_columns(request, status, now) | inputs_column(request)
        return Change(kind="run", owner=request.context.run_id, at=now, fields=fields, columns=columns)


def _conflict(run_id: str, found: Mapping[str, str], expected: Mapping[str, str]) -> RunConflict:
    if any(found.get(name) != expected[name] for name in ("org_id", "user_id")):
        return RunConflict.taken(run_id)
    other = "another plan" if found.get("plan_id") != expected["plan_id"] else "other user inputs"
    return RunConflict(f"run {run_id!r} was started with {other}; use a new run id")
