"""An `Archive` over any object that follows the seed's `PermanentStorageBackend`."""

import base64
from collections import defaultdict
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from storage.errors import ArchiveUnavailable, CorruptRecord
from storage.records import Batch, CheckpointKey, CheckpointRecord, Entry, Tombstone, Value, WriteRecord
from storage.seed_protocols import PermanentStorageBackend
from storage.serde import ValueCodec, strict_serializer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Space = tuple[str, str]
"""Thread and namespace."""


class PermanentBackendArchive:
    """Hands batches to the six `append_*` methods of a backend, whose answers count: a `False` fails the batch.

    Such a backend only adds. So a batch that is repeated after a failure, or by another archiver, is there twice, and a
    deletion is one more event. What the interface has no method for (runs, tasks, events, deletions) becomes an event
    of the session that has the owner's id; the log in which `CheckpointStorage` notes its order has nothing of its own.

    Args:
        backend: Initialised before the first batch; who made it closes it.
        codec: Reads values; strict by default. One that it cannot read is handed on as `{"type": …, "base64": …}`.
    """

    def __init__(self, backend: PermanentStorageBackend, codec: ValueCodec | None = None) -> None:
        self._backend = backend
        self._codec = codec or ValueCodec(strict_serializer())
        self._ready = False

    async def insert(self, batch: Batch) -> None:
        """Append a batch, one record after the other.

        Raises:
            ArchiveUnavailable: the backend said `False`, or raised something.
        """
        if not self._ready:
            await self._succeed("initialize", self._backend.initialize())
            self._ready = True
        blobs: dict[_Space, dict[tuple[str, str], Any]] = defaultdict(dict)
        for _, thread, space, blob in batch.blobs:
            blobs[thread, space][blob.channel, blob.version] = self._plain(blob.value)
        await self._append_writes(batch)
        for version, record in batch.checkpoints:
            await self._append_checkpoint(version, record, blobs[record.key[:2]])
        for (thread, space), left in blobs.items():
            if left:
                await self._append_shared(thread, space, left)
        for version, key in batch.removed:
            payload = {"checkpoint_ns": key.checkpoint_ns, "checkpoint_id": key.checkpoint_id}
            await self._append_event(key.thread_id, "", "checkpoint_deleted", payload, _time_of(version))
        for _, entry in batch.entries:
            await self._append_entry(entry)
        for tombstone in batch.tombstones:
            await self._append_tombstone(tombstone)

    async def _append_writes(self, batch: Batch) -> None:
        tasks: dict[tuple[CheckpointKey, str], list[tuple[int, WriteRecord]]] = defaultdict(list)
        for version, key, write in batch.writes:
            tasks[key, write.task_id].append((version, write))
        for (key, task), several in tasks.items():
            writes = [
                {
                    "idx": write.idx,
                    "task_path": write.task_path,
                    "channel": write.channel,
                    "value": self._plain(write.value),
                }
                for _, write in sorted(several, key=lambda pair: pair[1].idx)
            ]
            data = {"checkpoint_ns": key.checkpoint_ns, "writes": writes}
            at = _time_of(max(version for version, _ in several))
            call = self._backend.append_checkpoint_writes(key.thread_id, key.checkpoint_id, task, data, at)
            await self._succeed("append_checkpoint_writes", call)

    async def _append_checkpoint(
        self, version: int, record: CheckpointRecord, blobs: dict[tuple[str, str], Any]
    ) -> None:
        """Append a checkpoint with those of the batch's channel values that it refers to."""
        data = {
            "checkpoint_ns": record.key.checkpoint_ns,
            "parent_id": record.parent_id,
            "checkpoint": self._plain(record.body),
            "refs": dict(record.refs),
            "values": {channel: blobs.pop(ref) for ref in record.refs.items() for channel in ref[:1] if ref in blobs},
        }
        metadata = self._plain(record.metadata)
        call = self._backend.append_checkpoint(
            record.key.thread_id,
            record.key.checkpoint_id,
            data,
            cast("dict[str, Any]", metadata) if isinstance(metadata, dict) else {"metadata": metadata},
            _time_of(version),
        )
        await self._succeed("append_checkpoint", call)

    async def _append_shared(self, thread: str, space: str, blobs: Mapping[tuple[str, str], Any]) -> None:
        """Append channel values whose own checkpoint is gone; others may refer to them."""
        values = [{"channel": name, "version": version, "value": value} for (name, version), value in blobs.items()]
        call = self._backend.append_checkpoint(thread, "", {"checkpoint_ns": space, "shared_values": values}, None)
        await self._succeed("append_checkpoint", call)

    async def _append_entry(self, entry: Entry) -> None:
        payload = {name: self._plain(value) for name, value in entry.fields.items()}
        facts = {**entry.columns, **entry.counters}
        match entry.kind:
            case "session":
                user, status = entry.columns.get("user", ""), entry.columns.get("status", "active")
                event = "create" if entry.seq == 1 else "update" if status == "active" else "end"
                await self._append_event(entry.owner, user, event, {**payload, **facts}, entry.at)
            case "message":
                content = payload.pop("content", "")
                session, role = str(facts.pop("session", entry.owner)), str(facts.pop("role", ""))
                call = self._backend.append_conversation_message(session, role, content, {**payload, **facts}, entry.at)
                await self._succeed("append_conversation_message", call)
            case "context":
                call = self._backend.append_task_context_snapshot(
                    entry.owner, payload.get("context", payload), entry.at
                )
                await self._succeed("append_task_context_snapshot", call)
            case "conversation":
                call = self._backend.append_conversation_session(entry.owner, {**payload, **facts}, entry.at)
                await self._succeed("append_conversation_session", call)
            case "checkpoint":
                pass
            case "run" | "task" | "event":
                user = entry.columns.get("user", "")
                await self._append_event(entry.owner, user, entry.kind, {**payload, **facts}, entry.at)

    async def _append_tombstone(self, tombstone: Tombstone) -> None:
        await self._append_event(tombstone.owner, "", f"{tombstone.kind}_deleted", {}, tombstone.at)

    async def _append_event(
        self, session_id: str, user_id: str, event_type: str, payload: dict[str, Any], at: datetime
    ) -> None:
        call = self._backend.append_session_event(session_id, user_id, event_type, payload, at)
        await self._succeed("append_session_event", call)

    async def _succeed(self, method: str, call: Awaitable[bool]) -> None:
        name = f"{type(self._backend).__name__}.{method}"
        try:
            done = await call
        except Exception as error:  # a backend may raise anything, and all of it means: not stored
            raise ArchiveUnavailable(f"{name} failed: {error!r}") from error
        if not done:
            raise ArchiveUnavailable(f"{name} returned {done!r}")

    def _plain(self, value: Value) -> Any:
        try:
            return self._codec.load(value, "a value for the permanent backend")
        except CorruptRecord:  # encrypted, or of a type that this codec does not know: its bytes are kept
            return {"type": value.type, "base64": base64.b64encode(value.body).decode()}


def _time_of(version: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=version >> 20)
