"""Sessions: who, since when, how much, in what state."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from storage.records import Change, Entry, Value
from storage.sessions.stores import Stores, as_text

COUNTED = {"request_count", "error_count", "total_processing_time"}
FIXED = {"session_id", "user_id", "created_at", "last_activity"}


class Sessions(Stores):
    """A session is a dictionary.

    It has `session_id`, `user_id`, `created_at` and `last_activity` (ISO 8601, UTC; a message is activity too),
    `request_count`, `error_count`, `total_processing_time` (seconds), `status` (`"active"` until it is ended) and
    `metadata`.
    """

    async def create_session(
        self, session_id: str, user_id: str, metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Create a session and return it; one that is there already is returned as it is.

        Raises:
            ValueError: it is there, and another user's.
            TypeError: the metadata cannot be encoded.
        """
        now = self.clock()
        entry = await self.records.append(
            Change(
                kind="session",
                owner=session_id,
                at=now,
                fields={"metadata": self.codec.dump(metadata or {})},
                columns={"user": user_id, "status": "active", "created": as_text(now)},
                must="be_new",
            )
        )
        if entry is not None:
            return self._session(entry)
        found = await self.get_session(session_id)
        if found is None or found["user_id"] != user_id:
            raise ValueError(f"the session {session_id!r} belongs to another user; choose another id")
        return found

    async def get_session(self, session_id: str) -> dict[str, Any] | None:
        """Return a session; `None` when there is none.

        Raises:
            CorruptRecord: it cannot be read.
        """
        entry, message = await asyncio.gather(
            self.records.latest("session", session_id), self.records.latest("message", session_id)
        )
        return None if entry is None else self._session(entry, message)

    async def update_session(
        self,
        session_id: str,
        updates: dict[str, Any] | None = None,
        increment_requests: bool = False,  # noqa: FBT001, FBT002 - the seed's signature
        add_processing_time: float = 0.0,
        mark_error: bool = False,  # noqa: FBT001, FBT002 - the seed's signature
    ) -> bool:
        """Note activity; of several at once none is lost. Returns whether there is such a session.

        Args:
            session_id: Which.
            updates: `status`, `metadata` (its keys are added), and any other name is a key of the metadata.
            increment_requests: One request more.
            add_processing_time: Seconds.
            mark_error: One error more.

        Raises:
            ValueError: `updates` has what is counted or never changes.
            TypeError: a value cannot be encoded.
        """
        changes = dict(updates or {})
        if refused := changes.keys() & (COUNTED | FIXED):
            raise ValueError(f"{', '.join(sorted(refused))}: what is counted is added to, and the rest never changes")
        columns = {"status": str(changes.pop("status"))} if "status" in changes else {}
        added = {**cast("Mapping[Any, Any]", changes.pop("metadata", None) or {}), **changes}
        increments = {
            "request_count": float(increment_requests),
            "error_count": float(mark_error),
            "total_processing_time": add_processing_time,
        }
        return await self._change(session_id, self._added(added), columns, increments)

    async def end_session(self, session_id: str, status: str = "completed") -> bool:
        """Set the last status; returns whether there is such a session."""
        return await self._change(session_id, {}, {"status": status}, {})

    async def _change(
        self,
        session_id: str,
        fields: Mapping[str, Value],
        columns: Mapping[str, str],
        increments: Mapping[str, float],
    ) -> bool:
        entry = await self.records.append(
            Change(
                kind="session",
                owner=session_id,
                at=self.clock(),
                fields=fields,
                columns=columns,
                increments={name: amount for name, amount in increments.items() if amount},
                must="exist",
            )
        )
        return entry is not None

    def _added(self, metadata: Mapping[Any, Any]) -> dict[str, Value]:
        """A field for each key, so that changes of different keys do not overwrite each other."""
        return {f"metadata/{key!r}": self.codec.dump({key: value}) for key, value in metadata.items()}

    def _session(self, entry: Entry, message: Entry | None = None) -> dict[str, Any]:
        name = f"session/{entry.owner}"
        values = {field: self.codec.load(value, f"{name}/{field}") for field, value in entry.fields.items()}
        metadata = values.pop("metadata")
        for changed in values.values():
            metadata.update(changed)
        return {
            "session_id": entry.owner,
            "user_id": entry.columns["user"],
            "created_at": entry.columns["created"],
            "last_activity": as_text(entry.at if message is None else max(entry.at, message.at)),
            "request_count": int(entry.counters.get("request_count", 0)),
            "error_count": int(entry.counters.get("error_count", 0)),
            "total_processing_time": entry.counters.get("total_processing_time", 0.0),
            "status": entry.columns["status"],
            "metadata": metadata,
        }
