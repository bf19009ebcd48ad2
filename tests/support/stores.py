"""Every implementation of the stores, by name. A new one is a line here, and every shared suite runs over it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from checkpointer.backend_store import BackendCheckpoints
from storage.archiver import ArchiverPolicy
from storage.dual import DualStorage, StorageOptions
from storage.dual.records import TieredRecords
from storage.memory import MemoryCheckpoints, MemoryRecords
from storage.protocols import CheckpointStore, RecordStore
from storage.records import Change, Entry
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.eviction import evict_record
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords
from storage.redis.storage import RedisStorage
from storage.sessions import MemoryStorage, StorageFacade
from tests.support.open_savers import Thinned, empty
from tests.support.original_interfaces import PlainBackend

FOLDER = pytest.StashKey[Path]()
LIMIT = 1_000_000
"""References that may wait; a store without a limit keeps none."""


@asynccontextmanager
async def redis_client(request: pytest.FixtureRequest, *, cold: bool = False) -> AsyncIterator[RedisClient]:
    """A client with keys of its own on the server of the module."""
    client = await RedisClient.open(request.getfixturevalue("redis_url"), keys=Keys(f"t{uuid4().hex}"), cold=cold)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def memory_records(request: pytest.FixtureRequest) -> AsyncIterator[RecordStore]:
    yield MemoryRecords()


@asynccontextmanager
async def redis_records(request: pytest.FixtureRequest) -> AsyncIterator[RecordStore]:
    async with redis_client(request) as client:
        yield RedisRecords(client, outbox_limit=LIMIT)


@asynccontextmanager
async def redis_records_alone(request: pytest.FixtureRequest) -> AsyncIterator[RecordStore]:
    async with redis_client(request) as client:
        yield RedisRecords(client, outbox_limit=None)


@asynccontextmanager
async def memory_checkpoints(request: pytest.FixtureRequest) -> AsyncIterator[CheckpointStore]:
    yield MemoryCheckpoints()


@asynccontextmanager
async def redis_checkpoints(request: pytest.FixtureRequest) -> AsyncIterator[CheckpointStore]:
    async with redis_client(request) as client:
        yield RedisCheckpoints(client, outbox_limit=LIMIT)


@asynccontextmanager
async def backend_checkpoints(request: pytest.FixtureRequest) -> AsyncIterator[CheckpointStore]:
    yield BackendCheckpoints(PlainBackend())


@asynccontextmanager
async def facade_checkpoints(request: pytest.FixtureRequest) -> AsyncIterator[CheckpointStore]:
    yield BackendCheckpoints(MemoryStorage())


@asynccontextmanager
async def memory_storage(request: pytest.FixtureRequest) -> AsyncIterator[StorageFacade]:
    yield MemoryStorage()


@asynccontextmanager
async def redis_storage(request: pytest.FixtureRequest) -> AsyncIterator[StorageFacade]:
    storage = await RedisStorage.open(request.getfixturevalue("redis_url"), keys=Keys(f"t{uuid4().hex}"))
    try:
        yield storage
    finally:
        await storage.close()


@asynccontextmanager
async def dual_storage(request: pytest.FixtureRequest) -> AsyncIterator[DualStorage]:
    """Both tiers with as little in Redis as there can be, in one folder for all tests: making one takes long."""
    options = StorageOptions(
        data_dir=request.config.stash.setdefault(FOLDER, request.getfixturevalue("tmp_path_factory").mktemp("dual")),
        redis_url=request.getfixturevalue("redis_url"),
        key_prefix=uuid4().hex,
    )
    async with DualStorage.open(options, policy=ArchiverPolicy(keep_checkpoints=1, linger=0.0)) as storage:
        try:
            yield storage
        finally:
            await empty(storage)


@asynccontextmanager
async def dual_records(request: pytest.FixtureRequest) -> AsyncIterator[RecordStore]:
    async with dual_storage(request) as storage:
        yield EvictedRecords(storage)


@asynccontextmanager
async def dual_checkpoints(request: pytest.FixtureRequest) -> AsyncIterator[CheckpointStore]:
    async with dual_storage(request) as storage:
        yield Thinned(storage)


class EvictedRecords(TieredRecords):
    """After each change everything is archived and leaves Redis."""

    def __init__(self, storage: DualStorage) -> None:
        tiers = storage.records
        assert isinstance(tiers, TieredRecords)
        super().__init__(tiers.hot, storage.archive, storage.archiver.notify)
        self.storage = storage
        self.busy = asyncio.Lock()

    async def append(self, change: Change) -> Entry | None:
        entry = await super().append(change)
        if not self.busy.locked():
            async with self.busy:
                await self.storage.flush()
                await evict_record(self.storage.client, change.kind, change.owner)
        return entry


RECORD_STORES: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[RecordStore]]] = {
    "memory": memory_records,
    "redis": redis_records,
    "redis without archive": redis_records_alone,
    "dual": dual_records,
}
CHECKPOINT_STORES: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[CheckpointStore]]] = {
    "memory": memory_checkpoints,
    "redis": redis_checkpoints,
    "dual": dual_checkpoints,
    "backend": backend_checkpoints,
    "backend over our own": facade_checkpoints,
}
STORAGES: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[StorageFacade]]] = {
    "memory": memory_storage,
    "redis": redis_storage,
    "dual": dual_storage,
}
FENCELESS = {"backend", "backend over our own"}
"""Stores that refuse fencing tokens."""
