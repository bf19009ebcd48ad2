"""An archive in memory: rows by key, the highest version of each, and whatever can go wrong with it."""

import asyncio

from storage.errors import ArchiveUnavailable
from storage.records import Batch, BlobRecord, CheckpointKey, CheckpointRecord, Entry, WriteRecord


class RecordingArchive:
    """Keeps what a ReplacingMergeTree would."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str, str, str], tuple[int, BlobRecord]] = {}
        self.writes: dict[tuple[CheckpointKey, str, int], tuple[int, WriteRecord]] = {}
        self.checkpoints: dict[CheckpointKey, tuple[int, CheckpointRecord]] = {}
        self.removed: dict[CheckpointKey, int] = {}
        self.entries: dict[tuple[str, str, int], tuple[int, Entry]] = {}
        self.tombstones: dict[tuple[str, str], int] = {}
        self.batches: list[int] = []
        """Rows of each batch that was inserted."""
        self.failing: str | None = None
        """The reason that each insert gives from now on."""
        self.refuses: dict[object, Exception] = {}
        """Keys of checkpoints, owners of deletions or of entries → what every insert with them raises."""
        self.let_in = asyncio.Event()
        """Inserts wait for it before they store anything."""
        self.let_in.set()
        self.let_out = asyncio.Event()
        """Inserts wait for it after they stored everything."""
        self.let_out.set()
        self.entered = asyncio.Event()
        self.stored = asyncio.Event()
        self.attempts = 0

    async def insert(self, batch: Batch) -> None:
        self.attempts += 1
        self.entered.set()
        await self.let_in.wait()
        if self.failing is not None:
            raise ArchiveUnavailable(self.failing)
        for name in (
            *(record.key for _, record in batch.checkpoints),
            *(entry.owner for _, entry in batch.entries),
            *(tombstone.owner for tombstone in batch.tombstones),
        ):
            if name in self.refuses:
                raise self.refuses[name]
        self.batches.append(batch.rows)
        for version, thread, space, blob in batch.blobs:
            _put(self.blobs, (thread, space, blob.channel, blob.version), version, blob)
        for version, key, write in batch.writes:
            _put(self.writes, (key, write.task_id, write.idx), version, write)
        for version, record in batch.checkpoints:
            _put(self.checkpoints, record.key, version, record)
        for version, key in batch.removed:
            self.removed[key] = max(version, self.removed.get(key, 0))
        for version, entry in batch.entries:
            _put(self.entries, (entry.kind, entry.owner, entry.seq), version, entry)
        for tombstone in batch.tombstones:
            place = (tombstone.kind, tombstone.owner)
            self.tombstones[place] = max(tombstone.upto, self.tombstones.get(place, 0))
        self.stored.set()
        await self.let_out.wait()

    async def open(self) -> "RecordingArchive":
        """As an archiver opens it."""
        return self

    def whole(self) -> None:
        """Fail if a checkpoint is here and a blob that it refers to is not."""
        for key, (_, record) in self.checkpoints.items():
            for channel, version in record.refs.items():
                assert (key.thread_id, key.checkpoint_ns, channel, version) in self.blobs, (key, channel, version)


def _put(rows: dict, key: tuple, version: int, row: object) -> None:
    if key not in rows or rows[key][0] <= version:
        rows[key] = (version, row)
