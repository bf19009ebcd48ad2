"""Task contexts: the newest of a session, and those before it."""

from typing import Any

from storage.records import Change, Entry
from storage.sessions.stores import Stores, as_text


class TaskContexts(Stores):
    """A context is any value that can be encoded; it comes back as it was, for pydantic models if they are allowed."""

    async def store_task_context(self, session_id: str, context: Any) -> bool:
        """Store a context; those before it are history.

        Raises:
            TypeError: it cannot be encoded.
        """
        fields = {"context": self.codec.dump(context)}
        await self.records.append(Change(kind="context", owner=session_id, at=self.clock(), fields=fields))
        return True

    async def get_task_context(self, session_id: str) -> Any | None:
        """Return the context that was stored last; `None` when there is none.

        Raises:
            ForbiddenType: it is of a type that may not be loaded.
        """
        entry = await self.records.latest("context", session_id)
        return None if entry is None else self._context(entry)

    async def get_task_context_history(self, session_id: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the newest `limit` states, oldest of them first: `version` (1, 2 …), `context`, `created_at`.

        Only the archive keeps those before the newest, so Redis alone returns one.
        """
        entries = await self.records.read("context", session_id, limit=limit, newest=True)
        return [
            {"version": entry.seq, "context": self._context(entry), "created_at": as_text(entry.at)}
            for entry in entries
        ]

    def _context(self, entry: Entry) -> Any:
        return self.codec.load(entry.fields["context"], f"context/{entry.owner}/{entry.seq}")
