"""Reading runs back: one by its id, those of an owner, and their events."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from planner.context import RequestIdentity
from planner.errors import RunNotFound
from planner.execution.outcome import RunStatus
from planner.execution.run_records import RunEvent, RunRecord, StepState, read_event, read_run
from storage.errors import ArchiveUnavailable
from storage.protocols import RecordStore
from storage.records import Entry
from storage.serde import ValueCodec, strict_serializer

T = TypeVar("T")


class Found(list[T]):
    """What was found, and whether that is all.

    Attributes:
        missing: Why older ones may be missing: the archive cannot be read now.
    """

    missing: ArchiveUnavailable | None = None


class Runs:
    """The runs in a store, as their owner may see them; somebody else's are not there.

    A `normal` run is listed everywhere, an `inline` one under the run that started it, a `hidden` one nowhere: it is
    found by its id.

    Args:
        records: Where `RunLog` wrote them.
        codec: How it wrote them.
    """

    def __init__(self, records: RecordStore, codec: ValueCodec | None = None) -> None:
        self._records = records
        self._codec = codec or ValueCodec(strict_serializer())

    async def get(self, run_id: str, identity: RequestIdentity) -> RunRecord:
        """Return a run.

        Raises:
            RunNotFound: there is none, or it is somebody else's.
        """
        entry = await self._records.latest("run", run_id)
        if entry is None or not _owns(entry, identity):
            raise RunNotFound(run_id)
        return read_run(entry, self._codec)

    async def list(
        self,
        identity: RequestIdentity,
        *,
        status: RunStatus | None = None,
        session_id: str | None = None,
        parent: str | None = None,
        tag: str | None = None,
        inline: bool = False,
        limit: int | None = None,
    ) -> Found[RunRecord]:
        """Return the runs of an owner, the one that changed last first; without the archive, those that are live.

        Args:
            identity: Whose.
            status: Only those that are there now.
            session_id: Only those of a session.
            parent: Only those that this run started.
            tag: Only those with a tag.
            inline: Also the `inline` ones; with `parent` or `tag` they are always there.
            limit: At most so many.
        """
        asked = {"status": status, "session_id": session_id, "parent": parent}
        shown = {"normal", "inline"} if inline or parent is not None or tag is not None else {"normal"}
        found = Found[RunRecord]()
        async for entry in self._owned(identity, found):
            if entry.columns.get("visibility") not in shown:
                continue
            if any(value is not None and entry.columns.get(name) != value for name, value in asked.items()):
                continue
            run = read_run(entry, self._codec)
            if tag is None or tag in run.tags:
                found.append(run)
            if limit is not None and len(found) >= limit:
                break  # now: looking for another owner may open the archive
        return found

    async def find(self, prefix: str, identity: RequestIdentity, *, limit: int = 10) -> Found[str]:
        """Return the ids that begin with `prefix`, or only the one that it is, at most `limit`; hidden runs by id."""
        found = Found[str]()
        try:
            exact = await self._records.latest("run", prefix) if prefix else None
        except ArchiveUnavailable as error:
            exact, found.missing = None, error
        if exact is not None and _owns(exact, identity):
            return Found([prefix])
        async for entry in self._owned(identity, found, prefix):
            if entry.columns.get("visibility") != "hidden":
                found.append(entry.owner)
            if len(found) >= limit:
                break
        return found

    async def events(
        self, run_id: str, identity: RequestIdentity, *, after: int = 0, limit: int | None = None
    ) -> Sequence[RunEvent]:
        """Return the events of a run with `seq > after`, in order. Raises: as `get`."""
        entry = await self._records.latest("run", run_id)
        if entry is None or not _owns(entry, identity):
            raise RunNotFound(run_id)
        entries = await self._records.read("event", run_id, after=after, limit=limit)
        return [read_event(one, self._codec) for one in entries]

    async def _owned(self, identity: RequestIdentity, found: Found[T], prefix: str = "") -> AsyncIterator[Entry]:
        """Give the newest entries of an owner's runs, and end, noting it in `found`, where the archive is needed."""
        try:
            async for run_id in self._records.owners("run"):
                if run_id.startswith(prefix):
                    entry = await self._records.latest("run", run_id)
                    if entry is not None and _owns(entry, identity):
                        yield entry
        except ArchiveUnavailable as error:
            found.missing = error


def steps_of(step_ids: Iterable[str], run: RunRecord, events: Sequence[RunEvent]) -> dict[str, StepState]:
    """Return where each step is: as the run's end recorded it, or as far as its events tell."""
    states: dict[str, StepState] = {step_id: StepState(status="open") for step_id in step_ids}
    for event in events:
        if event.step_id in states:
            states[event.step_id] = _after(states[event.step_id], event)
    return {**states, **run.steps}


def _after(state: StepState, event: RunEvent) -> StepState:
    attempts = max(state.attempts, event.attempt)
    match event.phase:
        case "step_start":
            return StepState(status="running", attempts=attempts, started_at=event.at)
        case "step_success":
            return replace(state, status="succeeded", attempts=attempts, finished_at=event.at)
        case "step_failure":
            facts = {"error_type": event.error_type, "error": event.error, "finished_at": event.at}
            return replace(state, status="failed", attempts=attempts, **facts)
        case "step_skipped":
            return replace(state, status="skipped", reason=event.details.get("reason"), error=event.message)
        case _:
            return replace(state, attempts=attempts)


def _owns(entry: Entry, identity: RequestIdentity) -> bool:
    return (entry.columns.get("org_id"), entry.columns.get("user_id")) == (identity.org_id, identity.user_id)
