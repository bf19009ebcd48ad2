"""The seed's storage interfaces: its names, arguments and defaults. A class written to the original satisfies them.

`SessionStorage`, `ConversationStorage`, `CheckpointStorage` and `TaskContextStorage` make up `StorageBackend`;
`CheckpointerBackend` is what a checkpointer needs; `PermanentStorageBackend` is an archive that is only written.
Ids are a caller's own; nobody checks here whose they are.
"""

from datetime import datetime
from typing import Any, Protocol


class SessionStorage(Protocol):
    """Sessions by id."""

    async def create_session(
        self, session_id: str, user_id: str, metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Create a session and return it."""
        ...

    async def get_session(self, session_id: str) -> dict[str, Any] | None:
        """Return a session; `None` when there is none."""
        ...

    async def update_session(
        self,
        session_id: str,
        updates: dict[str, Any] | None = None,
        increment_requests: bool = False,  # noqa: FBT001, FBT002 - the seed's signature
        add_processing_time: float = 0.0,
        mark_error: bool = False,  # noqa: FBT001, FBT002 - the seed's signature
    ) -> bool:
        """Note activity; returns whether there is such a session. Times are in seconds."""
        ...

    async def end_session(self, session_id: str, status: str = "completed") -> bool:
        """Set the last status; returns whether there is such a session."""
        ...


class ConversationStorage(Protocol):
    """Messages by session."""

    async def add_conversation_message(
        self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None
    ) -> bool:
        """Add a message."""
        ...

    async def get_conversation_history(self, session_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest messages, oldest of them first."""
        ...


class CheckpointStorage(Protocol):
    """Checkpoints by thread and id."""

    async def store_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Store a checkpoint; the same id again replaces it."""
        ...

    async def get_checkpoint(self, thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any] | None:
        """Return a checkpoint, the one stored last without an id."""
        ...

    async def list_checkpoints(self, thread_id: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the checkpoints stored last, newest first."""
        ...


class TaskContextStorage(Protocol):
    """Task contexts by session."""

    async def get_task_context(self, session_id: str) -> Any | None:
        """Return the context that was stored last."""
        ...

    async def store_task_context(self, session_id: str, context: Any) -> bool:
        """Store a context; those before it are history."""
        ...


class StorageBackend(SessionStorage, ConversationStorage, CheckpointStorage, TaskContextStorage, Protocol):
    """All of these, opened and closed together."""

    async def initialize(self) -> bool:
        """Make ready; returns whether it can be used."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...

    async def health_check(self) -> dict[str, Any]:
        """Say how it is."""
        ...

    async def get_metrics(self) -> dict[str, Any]:
        """Count."""
        ...

    async def cleanup_expired_sessions(self, max_idle_hours: int = 24) -> int:
        """Remove idle sessions with all that belongs to them; returns how many."""
        ...


class PermanentStorageBackend(Protocol):
    """An archive that is only added to; each method returns whether it was."""

    async def append_session_event(
        self,
        session_id: str,
        user_id: str,
        event_type: str,
        payload: dict[str, Any],
        created_at: datetime | None = None,
    ) -> bool:
        """Add what happened to a session: `create`, `update`, `end`."""
        ...

    async def append_conversation_message(
        self,
        session_id: str,
        role: str,
        content: str,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> bool:
        """Add a message."""
        ...

    async def append_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> bool:
        """Add a checkpoint."""
        ...

    async def append_checkpoint_writes(
        self,
        thread_id: str,
        checkpoint_id: str,
        task_id: str,
        writes_data: Any,
        created_at: datetime | None = None,
    ) -> bool:
        """Add the writes of a task."""
        ...

    async def append_conversation_session(
        self, session_key: str, session_data: dict[str, Any], created_at: datetime | None = None
    ) -> bool:
        """Add a conversation session."""
        ...

    async def append_task_context_snapshot(
        self, session_id: str, context_data: Any, created_at: datetime | None = None
    ) -> bool:
        """Add a state of a task context."""
        ...

    async def initialize(self) -> bool:
        """Make ready; returns whether it can be used."""
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


class CheckpointerBackend(Protocol):
    """What a checkpointer needs."""

    async def put_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Store a checkpoint; the same id again replaces it."""
        ...

    async def get_checkpoint(self, thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any] | None:
        """Return a checkpoint, the one stored last without an id."""
        ...

    async def list_checkpoints(self, thread_id: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the checkpoints stored last, newest first."""
        ...

    async def put_writes(self, thread_id: str, checkpoint_id: str, task_id: str, writes_data: Any) -> bool:
        """Store the writes of a task."""
        ...

    async def get_writes(self, thread_id: str, checkpoint_id: str) -> list[tuple[Any, ...]]:
        """Return the writes of a checkpoint."""
        ...
