"""The seed's abstract classes by their signatures, and a backend that was written to one of them."""

import json
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any


class ISessionStorage(ABC):
    @abstractmethod
    async def create_session(
        self, session_id: str, user_id: str, metadata: dict[str, Any] | None = None
    ) -> dict[str, Any]: ...

    @abstractmethod
    async def get_session(self, session_id: str) -> dict[str, Any] | None: ...

    @abstractmethod
    async def update_session(
        self,
        session_id: str,
        updates: dict[str, Any] | None = None,
        increment_requests: bool = False,  # noqa: FBT001, FBT002 - the seed's
        add_processing_time: float = 0.0,
        mark_error: bool = False,  # noqa: FBT001, FBT002 - the seed's
    ) -> bool: ...

    @abstractmethod
    async def end_session(self, session_id: str, status: str = "completed") -> bool: ...


class IConversationStorage(ABC):
    @abstractmethod
    async def add_conversation_message(
        self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None
    ) -> bool: ...

    @abstractmethod
    async def get_conversation_history(self, session_id: str, limit: int = 50) -> list[dict[str, Any]]: ...


class ICheckpointStorage(ABC):
    @abstractmethod
    async def store_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool: ...

    @abstractmethod
    async def get_checkpoint(self, thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any] | None: ...

    @abstractmethod
    async def list_checkpoints(self, thread_id: str, limit: int = 10) -> list[dict[str, Any]]: ...


class ITaskContextStorage(ABC):
    @abstractmethod
    async def get_task_context(self, session_id: str) -> Any | None: ...

    @abstractmethod
    async def store_task_context(self, session_id: str, context: Any) -> bool: ...


class IStorageBackend(ISessionStorage, IConversationStorage, ICheckpointStorage, ITaskContextStorage):
    @abstractmethod
    async def initialize(self) -> bool: ...

    @abstractmethod
    async def close(self): ...

    @abstractmethod
    async def health_check(self) -> dict[str, Any]: ...

    @abstractmethod
    async def get_metrics(self) -> dict[str, Any]: ...

    @abstractmethod
    async def cleanup_expired_sessions(self, max_idle_hours: int = 24) -> int: ...


class IPermanentStorageBackend(ABC):
    @abstractmethod
    async def append_session_event(
        self,
        session_id: str,
        user_id: str,
        event_type: str,
        payload: dict[str, Any],
        created_at: datetime | None = None,
    ) -> bool: ...

    @abstractmethod
    async def append_conversation_message(
        self,
        session_id: str,
        role: str,
        content: str,
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> bool: ...

    @abstractmethod
    async def append_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> bool: ...

    @abstractmethod
    async def append_checkpoint_writes(
        self,
        thread_id: str,
        checkpoint_id: str,
        task_id: str,
        writes_data: Any,
        created_at: datetime | None = None,
    ) -> bool: ...

    @abstractmethod
    async def append_conversation_session(
        self, session_key: str, session_data: dict[str, Any], created_at: datetime | None = None
    ) -> bool: ...

    @abstractmethod
    async def append_task_context_snapshot(
        self, session_id: str, context_data: Any, created_at: datetime | None = None
    ) -> bool: ...

    @abstractmethod
    async def initialize(self) -> bool: ...

    @abstractmethod
    async def close(self) -> None: ...


class ICheckpointerBackend(ABC):
    @abstractmethod
    async def put_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool: ...

    @abstractmethod
    async def get_checkpoint(self, thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any] | None: ...

    @abstractmethod
    async def list_checkpoints(self, thread_id: str, limit: int = 10) -> list[dict[str, Any]]: ...

    @abstractmethod
    async def put_writes(self, thread_id: str, checkpoint_id: str, task_id: str, writes_data: list[tuple]) -> bool: ...

    @abstractmethod
    async def get_writes(self, thread_id: str, checkpoint_id: str) -> list[tuple]: ...


class PlainBackend(ICheckpointerBackend):
    """Keeps JSON in dictionaries, and of a task the last call only, as the seed does."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, dict[str, str]] = {}
        self.writes: dict[tuple[str, str], dict[str, str]] = {}

    async def put_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        stored = self.checkpoints.setdefault(thread_id, {})
        stored.pop(checkpoint_id, None)
        record = {"checkpoint_id": checkpoint_id, "data": checkpoint_data, "metadata": metadata or {}}
        stored[checkpoint_id] = json.dumps(record)
        return True

    async def get_checkpoint(self, thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any] | None:
        stored = self.checkpoints.get(thread_id, {})
        if checkpoint_id is None:
            checkpoint_id = next(reversed(stored), None)
        return json.loads(stored[checkpoint_id]) if checkpoint_id in stored else None

    async def list_checkpoints(self, thread_id: str, limit: int = 10) -> list[dict[str, Any]]:
        return [json.loads(text) for text in reversed(self.checkpoints.get(thread_id, {}).values())][:limit]

    async def put_writes(self, thread_id: str, checkpoint_id: str, task_id: str, writes_data: list[tuple]) -> bool:
        self.writes.setdefault((thread_id, checkpoint_id), {})[task_id] = json.dumps(writes_data)
        return True

    async def get_writes(self, thread_id: str, checkpoint_id: str) -> list[tuple]:
        calls = self.writes.get((thread_id, checkpoint_id), {})
        return [tuple(write) for text in calls.values() for write in json.loads(text)]
