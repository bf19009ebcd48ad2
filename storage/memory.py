"""Stores that live as long as the process."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from storage.errors import BlobNotFound, CorruptRecord, Fenced
from storage.records import (
    DOCUMENTS,
    BlobRecord,
    Change,
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    Entry,
    Kind,
    StoredCheckpoint,
    Value,
    WriteRecord,
    of_one_log,
)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class MemoryBlobStore:
    """A `BlobStore` in a dictionary, for runs that need not outlive the process."""

    def __init__(self, clock: Callable[[], datetime] = _utc_now) -> None:
        self._clock = clock
        self._blobs: dict[str, tuple[datetime, bytes]] = {}

    async def put(self, content: bytes) -> str:
        """Store `content` under its SHA-256; again makes it young for `collect`."""
        content = bytes(content)
        digest = sha256(content).hexdigest()
        self._blobs[digest] = self._clock(), content
        return digest

    async def get(self, digest: str) -> bytes:
        """Return what was stored under `digest`, or raise `BlobNotFound`."""
        try:
            return self._blobs[digest][1]
        except KeyError:
            raise BlobNotFound(digest) from None

    async def digests(self) -> AsyncIterator[str]:
        """Give the digest of each blob, in no order."""
        for digest in tuple(self._blobs):
            yield digest

    async def collect(
        self, referenced: AsyncIterable[str] | Iterable[str], *, older_than: timedelta, now: datetime
    ) -> int:
        """Remove the blobs that nothing refers to and that are older; return how many. See `FsspecBlobStore`."""
        used = {one async for one in referenced} if isinstance(referenced, AsyncIterable) else set(referenced)
        before = now - older_than
        unused = [one for one, (at, _) in self._blobs.items() if one not in used and at < before]
        for digest in unused:
            del self._blobs[digest]
        return len(unused)


@dataclass(slots=True)
class _Thread:
    """Everything of a thread; outlives its deletion, to know who is late."""

    records: dict[CheckpointKey, CheckpointRecord] = field(default_factory=dict[CheckpointKey, CheckpointRecord])
    writes: dict[CheckpointKey, dict[tuple[str, int], WriteRecord]] = field(
        default_factory=dict[CheckpointKey, dict[tuple[str, int], WriteRecord]]
    )
    blobs: dict[tuple[str, str, str], Value] = field(default_factory=dict[tuple[str, str, str], Value])
    """By namespace, channel, version."""
    fence: int = 0
    deleted: str = ""
    """The newest checkpoint id when the thread was deleted."""
    late: set[CheckpointKey] = field(default_factory=set[CheckpointKey])
    """Checkpoints that came from a run of the deleted thread."""
    removed: set[CheckpointKey] = field(default_factory=set[CheckpointKey])
    """Checkpoints that were deleted one by one."""

    def claim(self, thread_id: str, token: int | None) -> None:
        """Accept a writer, unless a newer one was here."""
        if token is None:
            return
        if token < self.fence:
            raise Fenced(thread_id, token, self.fence)
        self.fence = token

    def follows_deletion(self, record: CheckpointRecord) -> bool:
        """Whether a checkpoint belongs to a run that the deletion of its thread ended."""
        own, parent = record.key.checkpoint_id, record.parent_id
        if own <= self.deleted or parent is None:
            return own <= self.deleted
        return parent <= self.deleted or record.key._replace(checkpoint_id=parent) in self.late

    def stored(self, key: CheckpointKey) -> StoredCheckpoint:
        """Put a checkpoint together."""
        record, ns = self.records[key], key.checkpoint_ns
        missing = [channel for channel, version in record.refs.items() if (ns, channel, version) not in self.blobs]
        if missing:
            raise CorruptRecord("/".join(key), f"the values of its channels {missing} are not stored")
        return StoredCheckpoint(
            record=record,
            blobs={channel: self.blobs[ns, channel, version] for channel, version in record.refs.items()},
            writes=sorted(
                self.writes.get(key, {}).values(), key=lambda write: (write.task_path, write.task_id, write.idx)
            ),
        )


class MemoryCheckpoints:
    """A `CheckpointStore` in dictionaries, and what every other is compared with."""

    def __init__(self) -> None:
        self._threads: dict[str, _Thread] = {}

    async def put(self, record: CheckpointRecord, blobs: Sequence[BlobRecord], *, fence: int | None = None) -> None:
        """Store a checkpoint; one that follows the deletion of its thread is dropped, with its writes."""
        key = record.key
        thread = self._threads.setdefault(key.thread_id, _Thread())
        if thread.follows_deletion(record):
            thread.late.add(key)
            thread.writes.pop(key, None)
            return
        thread.claim(key.thread_id, fence)
        for blob in blobs:
            thread.blobs.setdefault((key.checkpoint_ns, blob.channel, blob.version), blob.value)
        thread.records[key] = record
        thread.removed.discard(key)

    async def put_writes(self, key: CheckpointKey, writes: Sequence[WriteRecord], *, fence: int | None = None) -> None:
        """Store writes: the first of an index stays, the last of an index below 0."""
        thread = self._threads.setdefault(key.thread_id, _Thread())
        if key.checkpoint_id <= thread.deleted or key in thread.late or key in thread.removed:
            return
        thread.claim(key.thread_id, fence)
        stored = thread.writes.setdefault(key, {})
        for write in writes:
            if write.idx < 0:
                stored[write.task_id, write.idx] = write
            else:
                stored.setdefault((write.task_id, write.idx), write)

    def raise_fence(self, thread_id: str, token: int) -> None:
        """Refuse writers with a token below `token` from now on."""
        self._threads.setdefault(thread_id, _Thread()).claim(thread_id, token)

    async def get(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint, the newest without an id."""
        thread = self._threads.get(thread_id, _Thread())
        here = [
            key
            for key in thread.records
            if key.checkpoint_ns == checkpoint_ns and checkpoint_id in (None, key.checkpoint_id)
        ]
        return thread.stored(max(here)) if here else None

    async def scan(self, query: CheckpointQuery) -> AsyncIterator[StoredCheckpoint]:
        """List what there is now, newest first."""
        found = [
            record.key
            for thread in self._threads.values()
            for record in thread.records.values()
            if query.matches(record)
        ]
        for key in sorted(found, key=lambda key: key[::-1], reverse=True)[: query.limit]:
            thread = self._threads[key.thread_id]
            if key in thread.records:  # it may have been deleted since
                yield thread.stored(key)

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread, and remember how far it had come."""
        thread = self._threads.get(thread_id)
        if thread is None:
            return
        ids = [key.checkpoint_id for key in (*thread.records, *thread.writes)]
        self._threads[thread_id] = _Thread(
            fence=thread.fence, deleted=max(ids, default=thread.deleted), late=thread.late, removed=thread.removed
        )

    async def delete(self, keys: Sequence[CheckpointKey]) -> None:
        """Delete checkpoints with their writes, and the blobs that nothing refers to."""
        for key in keys:
            thread = self._threads.setdefault(key.thread_id, _Thread())
            thread.records.pop(key, None)
            thread.writes.pop(key, None)
            thread.removed.add(key)
        for thread in {key.thread_id: self._threads[key.thread_id] for key in keys}.values():
            needed = {
                (key.checkpoint_ns, channel, version)
                for key, record in thread.records.items()
                for channel, version in record.refs.items()
            }
            thread.blobs = {name: value for name, value in thread.blobs.items() if name in needed}


class MemoryRecords:
    """A `RecordStore` in lists, and what every other is compared with. It keeps every state of a document."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        """By kind and owner; the owner that changed last is at the end."""

    async def append(self, change: Change) -> Entry | None:
        """Add a state or an entry, if `change.must` holds."""
        return self.add(change)

    def add(self, change: Change, counters_now: Mapping[str, float] | None = None) -> Entry | None:
        """As `append`; `counters_now` are set, as they are from now on."""
        place = (change.kind, change.owner)
        if change.must is not None and (place in self._entries) != (change.must == "exist"):
            return None
        entries = self._entries.pop(place, [])
        self._entries[place] = entries
        before = entries[-1] if entries and change.kind in DOCUMENTS else None
        counters = dict(before.counters) if before else {}
        for name, amount in change.increments.items():
            counters[name] = counters.get(name, 0.0) + amount
        counters.update(counters_now or {})
        entry = Entry(
            kind=change.kind,
            owner=change.owner,
            seq=len(entries) + 1,
            at=change.at,
            fields={**(before.fields if before else {}), **change.fields},
            columns={**(before.columns if before else {}), **change.columns},
            counters=counters,
        )
        entries.append(entry)
        return entry

    async def append_all(self, changes: Sequence[Change]) -> None:
        """Add entries of one log."""
        if changes:
            of_one_log(changes)
        for change in changes:
            await self.append(change)

    async def latest(self, kind: Kind, owner: str) -> Entry | None:
        """Return the newest state or entry."""
        return self.newest(kind, owner)

    def newest(self, kind: Kind, owner: str) -> Entry | None:
        """As `latest`."""
        entries = self._entries.get((kind, owner))
        return entries[-1] if entries else None

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> Sequence[Entry]:
        """Return entries above `after`, oldest first."""
        found = self._entries.get((kind, owner), [])[after:]
        if limit is None:
            return found
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name the owners, the one that changed last first."""
        for place in reversed(list(self._entries)):
            if place[0] == kind:
                yield place[1]

    async def delete(self, kind: Kind, owner: str) -> bool:
        """Forget an owner."""
        return self.forget(kind, owner)

    def forget(self, kind: Kind, owner: str) -> bool:
        """As `delete`."""
        return self._entries.pop((kind, owner), None) is not None
