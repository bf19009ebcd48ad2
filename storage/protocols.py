"""The seams of storage: each Protocol says what absence, repetition and failure mean.

Any method may raise `StorageUnavailable`; what it was asked to write may then have happened or not, and repeating the
call is safe.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from storage.records import (
    Batch,
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
)


class BlobStore(Protocol):
    """Bytes by the SHA-256 of their content, so the same bytes are stored once."""

    async def put(self, content: bytes) -> str:
        """Store `content` and return its digest (64 hexadecimal digits); storing it again changes nothing."""
        ...

    async def get(self, digest: str) -> bytes:
        """Return the bytes stored under `digest`.

        Raises:
            BlobNotFound: nothing is stored there.
            CorruptRecord: something else is.
        """
        ...


class CheckpointStore(Protocol):
    """Checkpoints, the values of their channels, and the writes of their tasks, by thread and namespace."""

    async def put(self, record: CheckpointRecord, blobs: Sequence[BlobRecord], *, fence: int | None = None) -> None:
        """Store a checkpoint with the blobs that are new; the same id again replaces it, the same blob changes nothing.

        A checkpoint of a deleted thread (its own id or its parent's is not newer than the deletion) is dropped in
        silence: it comes from a writer that is late.

        Raises:
            Fenced: `fence` is lower than the highest the thread has seen. No fence is no claim, and always goes.
            OutboxFull: the archive has been away for too long.
        """
        ...

    async def put_writes(self, key: CheckpointKey, writes: Sequence[WriteRecord], *, fence: int | None = None) -> None:
        """Store writes; the checkpoint need not exist yet. Repetition: see `WriteRecord.idx`. Raises: as `put`."""
        ...

    async def get(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint, the newest without an id; `None` when there is none in any tier.

        Raises:
            ArchiveUnavailable: it may be in the archive only.
            CorruptRecord: it cannot be read, or a blob it refers to is in no tier.
        """
        ...

    def scan(self, query: CheckpointQuery) -> AsyncIterator[StoredCheckpoint]:
        """List checkpoints by id, newest first, each once, across all tiers. Raises: as `get`."""
        ...

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread in all its namespaces, for good; a thread that is not there changes nothing."""
        ...

    async def delete(self, keys: Sequence[CheckpointKey]) -> None:
        """Delete single checkpoints with their writes, and the blobs that nothing refers to any more."""
        ...


class RecordStore(Protocol):
    """Documents and logs by kind and owner."""

    async def append(self, change: Change) -> Entry | None:
        """Apply `change` atomically and return what came of it; `None` when its `must` does not hold.

        Repeating a call whose answer was lost adds twice: counters and logs are at least once.
        """
        ...

    async def append_all(self, changes: Sequence[Change]) -> None:
        """Append entries of one log, in order, all or none. Repetition: as `append`.

        Raises:
            ValueError: they are of several owners, or of a document.
        """
        ...

    async def latest(self, kind: Kind, owner: str) -> Entry | None:
        """Return the state of a document or the newest entry of a log; `None` when there is none in any tier."""
        ...

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> Sequence[Entry]:
        """Return entries with `seq > after`, oldest first; with `newest`, the last `limit` of them, oldest first too.

        Of a document these are its states, which only the archive keeps.
        """
        ...

    def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name the owners of a kind, the one that changed last first, across all tiers."""
        ...

    async def delete(self, kind: Kind, owner: str) -> bool:
        """Delete everything of an owner, for good; returns whether there was something in the hot tier."""
        ...


class Archive(Protocol):
    """Where batches go. Storing one again changes nothing."""

    async def insert(self, batch: Batch) -> None:
        """Store a batch: blobs before writes before checkpoints, so that what can be seen is whole.

        Raises:
            ArchiveUnavailable: it may be there in part; insert it again.
            ValueError: a row has no form in the archive, and nothing was stored.
        """
        ...


class ArchiveReader(Protocol):
    """What has been archived and not deleted. Any method may raise `ArchiveUnavailable`."""

    async def checkpoint(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint with blobs and writes, the newest without an id."""
        ...

    async def blobs(self, thread_id: str, checkpoint_ns: str, refs: Mapping[str, str]) -> Mapping[str, Value]:
        """Return the values of `refs` (channel → version) that are there."""
        ...

    async def namespaces(self, thread_id: str) -> Sequence[str]:
        """Name the namespaces of a thread."""
        ...

    def scan(self, query: CheckpointQuery) -> AsyncIterator[StoredCheckpoint]:
        """List checkpoints by id, newest first; `query.labels` may let too much through, never too little."""
        ...

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> Sequence[Entry]:
        """As `RecordStore.read`; of a document, its states."""
        ...

    def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name the owners of a kind, the one that changed last first."""
        ...

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> "Table":
        """Run a `SELECT` and return its rows; anything that writes is refused."""
        ...


class Table(Protocol):
    """Rows of an answer."""

    @property
    def columns(self) -> Sequence[str]:
        """Names."""
        ...

    @property
    def rows(self) -> Sequence[Sequence[object]]:
        """Values, in the order of `columns`."""
        ...
