"""The seed's `PermanentStorageBackend` over the archive: each call stores one entry.

    append_session_event          kind session       columns event_type, user_id     fields payload
    append_conversation_message   kind message       columns role                    fields content, metadata
    append_checkpoint             kind checkpoint    columns checkpoint_id           fields data, metadata
    append_checkpoint_writes      kind checkpoint    columns checkpoint_id, task_id  fields writes
    append_conversation_session   kind conversation                                  fields data
    append_task_context_snapshot  kind context                                       fields data

The seed lets failures pass in silence; here they are raised, because whoever calls has to know what to repeat.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from storage.clickhouse.archive import ClickHouseArchive
from storage.clickhouse.rows import version_at
from storage.records import Batch, Entry, Kind, Value


class ClickHousePermanentStorage:
    """A `PermanentStorageBackend`. Its entries are numbered by time, and read back with `ClickHouseArchive.read`.

    Args:
        archive: Where; closed by `close`.
        encode: Makes bytes of a value, as `storage.serde.ValueCodec.dump`.
        clock: Now, with a zone.
    """

    def __init__(
        self,
        archive: ClickHouseArchive,
        encode: Callable[[object], Value],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.archive = archive
        self._encode = encode
        self._clock = clock
        self._last = 0

    async def initialize(self) -> bool:
        """Connect and migrate."""
        await self.archive.open()
        return True

    async def close(self) -> None:
        """Disconnect."""
        await self.archive.aclose()

    async def append_session_event(
        self,
        session_id: str,
        user_id: str,
        event_type: str,
        payload: dict[str, Any],
        created_at: datetime | None = None,
    ) -> bool:
        """Store what happened to a session."""
        columns = {"event_type": event_type, "user_id": user_id}
        return await self._append("session", session_id, {"payload": payload}, columns, created_at)

    async def append_conversation_message(
        self,
        session_id: str,
        role: str,
        content: str,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> bool:
        """Store a message."""
        fields = {"content": content, "metadata": metadata}
        return await self._append("message", session_id, fields, {"role": role}, created_at)

    async def append_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> bool:
        """Store a checkpoint of the seed's kind."""
        fields = {"data": checkpoint_data, "metadata": metadata}
        return await self._append("checkpoint", thread_id, fields, {"checkpoint_id": checkpoint_id}, created_at)

    async def append_checkpoint_writes(
        self,
        thread_id: str,
        checkpoint_id: str,
        task_id: str,
        writes_data: Any,
        created_at: datetime | None = None,
    ) -> bool:
        """Store what a task wrote."""
        columns = {"checkpoint_id": checkpoint_id, "task_id": task_id}
        return await self._append("checkpoint", thread_id, {"writes": writes_data}, columns, created_at)

    async def append_conversation_session(
        self, session_key: str, session_data: dict[str, Any], created_at: datetime | None = None
    ) -> bool:
        """Store a state of a conversation session."""
        return await self._append("conversation", session_key, {"data": session_data}, {}, created_at)

    async def append_task_context_snapshot(
        self, session_id: str, context_data: Any, created_at: datetime | None = None
    ) -> bool:
        """Store a state of a task context."""
        return await self._append("context", session_id, {"data": context_data}, {}, created_at)

    async def _append(
        self, kind: Kind, owner: str, fields: Mapping[str, Any], columns: Mapping[str, str], at: datetime | None
    ) -> bool:
        version = self._next()
        entry = Entry(
            kind=kind,
            owner=owner,
            seq=version,
            at=at or self._clock(),
            fields={name: self._encode(value) for name, value in fields.items() if value is not None},
            columns=columns,
            counters={},
        )
        await self.archive.insert(Batch(entries=[(version, entry)]))
        return True

    def _next(self) -> int:
        """Count within the millisecond, and never back."""
        self._last = max(self._last + 1, version_at(self._clock()))
        return self._last
