"""All of the seed's methods in one object, over any pair of stores."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from storage.errors import StorageError
from storage.memory import MemoryCheckpoints, MemoryRecords
from storage.protocols import CheckpointStore, RecordStore
from storage.records import Kind
from storage.serde import ValueCodec
from storage.sessions.context import TaskContexts
from storage.sessions.conversation import Conversations
from storage.sessions.named_checkpoints import NamedCheckpoints
from storage.sessions.session import Sessions
from storage.sessions.stores import utc_now

Probe = Callable[[], Awaitable[Mapping[str, object]]]
"""Asks a tier how it is and returns facts about it; raises `StorageError` when it cannot be used."""
OF_SESSIONS: tuple[Kind, ...] = ("session", "message", "context")
"""Kinds whose owners are sessions; what belongs to one otherwise has it in the column `session`."""


async def _nothing() -> None:
    return


class StorageFacade(Sessions, Conversations, TaskContexts, NamedCheckpoints):
    """A `StorageBackend` and a `CheckpointerBackend`. What could not be stored raises `StorageError`.

    Args:
        checkpoints: For checkpoints and writes.
        records: For everything else.
        name: In `get_metrics`.
        tiers: Name → probe; the first has to work, and without one of the others the storage is degraded.
        close: Gives up what the stores need.
        codec: How values are written; strict by default.
        clock: Says what time it is, in UTC.
    """

    def __init__(
        self,
        checkpoints: CheckpointStore,
        records: RecordStore,
        *,
        name: str,
        tiers: Mapping[str, Probe],
        close: Callable[[], Awaitable[None]] = _nothing,
        codec: ValueCodec | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(checkpoints, records, codec=codec, clock=clock)
        self.name = name
        self._tiers = tiers
        self._close = close

    async def initialize(self) -> bool:
        """Say whether the first tier can be used; the stores are open already."""
        return (await self.health_check())["status"] != "unhealthy"

    async def close(self) -> None:
        """Give up connections."""
        await self._close()

    async def health_check(self) -> dict[str, Any]:
        """Ask each tier now.

        Returns:
            `status`: `healthy`; `degraded` when a tier but the first is away; `unhealthy` when the first is.
            `tiers`: name → `status` (`healthy` or `unhealthy`), `error` (a sentence or `None`), and facts about it.
            `issues`: the errors.
        """
        answers = await asyncio.gather(*(self._ask(probe) for probe in self._tiers.values()))
        tiers = dict(zip(self._tiers, answers, strict=True))
        sick = [name for name, tier in tiers.items() if tier["status"] != "healthy"]
        first = next(iter(tiers))
        return {
            "status": "unhealthy" if first in sick else "degraded" if sick else "healthy",
            "tiers": tiers,
            "issues": [f"{name}: {tiers[name]['error']}" for name in sick],
        }

    async def get_metrics(self) -> dict[str, Any]:
        """Count: `total_sessions`, `active_sessions` (not ended), `total_messages`, `total_checkpoints`.

        Reads every session, so it is for now and then. Also `storage_backend`, and `tiers` as in `health_check`.
        """
        sessions = [await self.records.latest("session", owner) async for owner in self.records.owners("session")]
        messages = [await self.records.latest("message", owner) async for owner in self.records.owners("message")]
        checkpoints = [len(await self.checkpoint_ids(owner)) async for owner in self.records.owners("checkpoint")]
        return {
            "total_sessions": len(sessions),
            "active_sessions": sum(entry is not None and entry.columns["status"] == "active" for entry in sessions),
            "total_messages": sum(entry.seq for entry in messages if entry),
            "total_checkpoints": sum(checkpoints),
            "storage_backend": self.name,
            "tiers": (await self.health_check())["tiers"],
        }

    async def cleanup_expired_sessions(self, max_idle_hours: int = 24) -> int:
        """Remove each session that has been idle for longer, with messages, contexts, conversations and checkpoints.

        What belongs to it and changed counts as its activity. Returns how many were removed. Reads every session.
        """
        before = self.clock() - timedelta(hours=max_idle_hours)
        belongings: dict[str, list[tuple[Kind, str]]] = {}
        changed: dict[str, datetime] = {}
        kinds: tuple[Kind, ...] = (*OF_SESSIONS, "conversation", "checkpoint")
        for kind in kinds:
            async for owner in self.records.owners(kind):
                entry = await self.records.latest(kind, owner)
                if entry is None:
                    continue
                session = entry.columns.get("session", owner)
                if kind == "checkpoint":
                    session = await self.session_of(owner)
                if session not in belongings and kind not in OF_SESSIONS:
                    continue  # a thread of no session
                belongings.setdefault(session, []).append((kind, owner))
                changed[session] = max(changed.get(session, entry.at), entry.at)
        expired = [session for session, at in changed.items() if at < before]
        for session in expired:
            for kind, owner in reversed(belongings[session]):  # itself last, so that a repetition finds the rest
                if kind == "checkpoint":
                    await self.delete_checkpoints(owner)
                else:
                    await self.records.delete(kind, owner)
        return len(expired)

    async def _ask(self, probe: Probe) -> dict[str, Any]:
        try:
            return {"status": "healthy", "error": None, **await probe()}
        except StorageError as error:
            return {"status": "unhealthy", "error": str(error)}


class MemoryStorage(StorageFacade):
    """Everything in this process, and gone with it."""

    def __init__(self, *, codec: ValueCodec | None = None, clock: Callable[[], datetime] = utc_now) -> None:
        async def probe() -> Mapping[str, object]:
            return {}

        super().__init__(
            MemoryCheckpoints(), MemoryRecords(), name="memory", tiers={"memory": probe}, codec=codec, clock=clock
        )
