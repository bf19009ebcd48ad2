"""`DualWriteSaver`: LangGraph's checkpointer over a `CheckpointStore`."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from checkpointer import threads
from checkpointer.codec import config_of, key_of, labels_of, matches, metadata_of, to_records, to_tuple, to_writes
from checkpointer.delta import delta_history
from checkpointer.home import Home
from checkpointer.ids import sort_after
from checkpointer.opening import Opening
from storage.dual import DualStorage, StorageOptions
from storage.protocols import CheckpointStore, Table
from storage.records import CheckpointQuery, StoredCheckpoint, is_named
from storage.runs import FENCE
from storage.serde import AllowedType, ValueCodec, encrypted, strict_serializer

T = TypeVar("T")


class DualWriteSaver(BaseCheckpointSaver[str]):
    """Keeps checkpoints in a `CheckpointStore`; over both tiers: `DualWriteSaver.from_conn_string(…)`.

    Sync and async, from any thread and loop; a sync call on the loop that the saver was opened in is refused
    (`SyncCallInLoop`), since it would wait for itself.

    Args:
        store: Where checkpoints are.
        serde: How values become bytes, LangGraph's `EncryptedSerializer` for example. By default strict: only known
            types load, and anything else raises `ForbiddenType`.
        allowed_types: Types, or `"module:Name"`, that the default serializer loads besides.
        storage: The two tiers that `store` belongs to, for `aflush`, `aevict` and `aquery`.
    """

    fences = True
    """Whether writes with an old fencing token are refused."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        serde: SerializerProtocol | None = None,
        allowed_types: Iterable[AllowedType] = (),
        storage: DualStorage | None = None,
    ) -> None:
        super().__init__(serde=serde or strict_serializer(allowed_types))
        self.store = store
        self._storage = storage
        self._home = Home(None if storage is None else storage.loop)

    @classmethod
    def from_conn_string(
        cls,
        redis_url: str | None = None,
        archive_url: str | None = None,
        *,
        data_dir: Path | str | None = None,
        serde: SerializerProtocol | None = None,
        allowed_types: Iterable[AllowedType] = (),
        encryption_key: bytes | None = None,
        options: StorageOptions | None = None,
    ) -> Opening[Self]:
        """Open both tiers: `async with DualWriteSaver.from_conn_string() as saver:`, or `with` outside of a loop.

        Args:
            redis_url: `redis://`, `rediss://`, `unix://` or `redis+cluster://`; an embedded Redis without it.
            archive_url: `clickhouse://user:password@host:8123/database`, or `https://…`; embedded without it.
            data_dir: Of what is embedded; `./.goalgraph` by default.
            serde: As for the class.
            allowed_types: As for the class.
            encryption_key: 16, 24 or 32 bytes: values are encrypted before they leave the process.
            options: Everything else about the storage.

        Raises:
            StorageError: see `DualStorage.open`.
        """
        given = {"redis_url": redis_url, "archive_url": archive_url, "data_dir": data_dir and Path(data_dir)}
        chosen = replace(
            options or StorageOptions(), **{name: value for name, value in given.items() if value is not None}
        )
        inner = serde or strict_serializer(allowed_types)
        return Opening(cls._opened(chosen, inner if encryption_key is None else encrypted(inner, encryption_key)))

    @classmethod
    @asynccontextmanager
    async def _opened(cls, options: StorageOptions, serde: SerializerProtocol) -> AsyncGenerator[Self]:
        async with DualStorage.open(options, codec=ValueCodec(serde)) as storage:
            saver = cls(storage.checkpoints, serde=serde, storage=storage)
            try:
                yield saver
            finally:
                saver.close()

    # ------------------------------------------------------------------------------------------------ the contract

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint: one round trip.

        Raises:
            Fenced: the config carries an older fencing token than the thread has seen.
            StorageUnavailable: no answer; repeat it.
        """
        record, blobs = to_records(self._codec, config, checkpoint, metadata, new_versions)
        await self._home.go(self.store.put(record, blobs, fence=_fence(config)))
        return config_of(record.key)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store writes of a task: one round trip; the checkpoint need not be there yet. Raises: as `aput`."""
        records = to_writes(self._codec, writes, task_id, task_path)
        await self._home.go(self.store.put_writes(key_of(config), records, fence=_fence(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint with its pending writes, the newest without `checkpoint_id`.

        Raises:
            CorruptRecord: it cannot be read. ForbiddenType: it names a type that may not be loaded.
            ArchiveUnavailable: it was evicted, and the archive cannot be read now.
        """
        thread, space, checkpoint_id = key_of(config)
        found = await self._home.go(self.store.get(thread, space, checkpoint_id or None))
        return None if found is None else self._read(found)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints of both tiers, newest first; without a config those of all threads."""
        found = self.store.scan(_query(config, filter, before, limit))
        left = limit
        try:
            while left is None or left > 0:
                stored = await self._home.go(_next(found))
                if stored is None:
                    return
                if is_named(stored.record.key.thread_id):
                    continue
                if filter and not matches(filter, metadata_of(self._codec, stored.record)):
                    continue
                left = None if left is None else left - 1
                yield to_tuple(self._codec, stored)
        finally:
            await self._home.go(_close(found))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread in all namespaces and both tiers; what a late writer stores afterwards is dropped."""
        await self._home.go(self.store.delete_thread(str(thread_id)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of runs, but for those that a later delta channel is rebuilt from."""
        await self._home.go(threads.delete_for_runs(self.store, run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread.

        Raises:
            ThreadDeleted: the target was deleted, and the source is older than that; copy to another id.
        """
        await self._home.go(threads.copy(self.store, str(source_thread_id), str(target_thread_id)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep the newest checkpoint of each namespace, and what its delta channels are rebuilt from; or `"delete"`."""
        await self._home.go(threads.prune(self.store, [str(thread) for thread in thread_ids], strategy))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return each channel's writes since its last snapshot, oldest first, and that snapshot."""
        return await self._home.go(delta_history(self.store, self._codec, key_of(config), channels))

    def _read(self, found: StoredCheckpoint) -> CheckpointTuple:
        sort_after(found.record.key.checkpoint_id)
        return to_tuple(self._codec, found)

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """Return a version that sorts after `current` and that no other fork of the same parent has."""
        number = int(current.partition(".")[0]) if isinstance(current, str) else current or 0
        return f"{number + 1:032}.{secrets.randbits(53):016}"

    # ---------------------------------------------------------------------------------------------- the sync half

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`; serialised in the calling thread, whose state it is."""
        record, blobs = to_records(self._codec, config, checkpoint, metadata, new_versions)
        self._home.run(self.store.put(record, blobs, fence=_fence(config)))
        return config_of(record.key)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`."""
        records = to_writes(self._codec, writes, task_id, task_path)
        self._home.run(self.store.put_writes(key_of(config), records, fence=_fence(config)))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`; decoded in the calling thread."""
        thread, space, checkpoint_id = key_of(config)
        found = self._home.run(self.store.get(thread, space, checkpoint_id or None))
        return None if found is None else self._read(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`."""
        found = self.alist(config, filter=filter, before=before, limit=limit)
        try:
            while (one := self._home.run(_next(found))) is not None:
                yield one
        finally:
            with suppress(RuntimeError):  # the saver was closed before, and everything with it
                self._home.run(_close(found))

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`."""
        self._home.run(self.adelete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `adelete_for_runs`."""
        self._home.run(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `acopy_thread`."""
        self._home.run(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `aprune`."""
        self._home.run(self.aprune(thread_ids, strategy=strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `aget_delta_channel_history`."""
        return self._home.run(self.aget_delta_channel_history(config=config, channels=channels))

    # ---------------------------------------------------------------------------------------------- the two tiers

    @property
    def storage(self) -> DualStorage:
        """The two tiers.

        Raises:
            RuntimeError: the saver was made over a store alone.
        """
        if self._storage is None:
            raise RuntimeError("this saver has one store alone; open one with `DualWriteSaver.from_conn_string`")
        return self._storage

    async def aflush(self, timeout: float = 30.0) -> None:
        """Wait until all that is written so far is in the archive, or raise `ArchiveUnavailable`."""
        await self._home.go(self.storage.flush(timeout))

    async def aevict(self, thread_id: str) -> bool:
        """Move a thread out of Redis, as happens to those that idle; it comes back when it is used."""
        return await self._home.go(self.storage.evict(str(thread_id)))

    async def aquery(self, sql: str, parameters: Mapping[str, object] | None = None) -> Table:
        """Ask the archive a `SELECT`, after what is written so far has got there."""
        return await self._home.go(self.storage.query(sql, parameters))

    def flush(self, timeout: float = 30.0) -> None:
        """As `aflush`."""
        self._home.run(self.aflush(timeout))

    def evict(self, thread_id: str) -> bool:
        """As `aevict`."""
        return self._home.run(self.aevict(thread_id))

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Table:
        """As `aquery`."""
        return self._home.run(self.aquery(sql, parameters))

    def close(self) -> None:
        """End the saver's own thread, if a sync call outside of any loop has started it; the stores are others'."""
        self._home.close()

    @property
    def _codec(self) -> ValueCodec:
        return ValueCodec(self.serde)  # read at each call: LangGraph swaps `serde` on a shallow copy


def _fence(config: RunnableConfig) -> int | None:
    token = (config.get("configurable") or {}).get(FENCE)
    return None if token is None else int(token)


def _query(
    config: RunnableConfig | None, wanted: Mapping[str, Any] | None, before: RunnableConfig | None, limit: int | None
) -> CheckpointQuery:
    configurable = (config or {}).get("configurable") or {}
    thread = configurable.get("thread_id")
    return CheckpointQuery(
        thread_id=None if thread is None else str(thread),
        checkpoint_ns=configurable.get("checkpoint_ns"),
        checkpoint_id=configurable.get("checkpoint_id") or None,
        before=((before or {}).get("configurable") or {}).get("checkpoint_id"),
        labels=labels_of(wanted or {}),
        limit=None if wanted or thread is None else limit,  # some of what is found is filtered again
    )


async def _next(found: AsyncIterator[T]) -> T | None:
    return await anext(found, None)


async def _close(found: AsyncIterator[Any]) -> None:
    if isinstance(found, AsyncGenerator):
        await found.aclose()
