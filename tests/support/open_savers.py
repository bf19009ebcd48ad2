"""The saver over each of its stores, opened the same way, so that one suite runs over all."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from checkpointer import DualWriteSaver
from storage.archiver import ArchiverPolicy
from storage.dual import DualStorage, StorageOptions
from storage.dual.checkpoints import TieredCheckpoints
from storage.embedded import DataDirectory, open_redis
from storage.memory import MemoryCheckpoints
from storage.records import BlobRecord, CheckpointKey, CheckpointRecord, WriteRecord
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.keys import Keys


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where servers are, and a folder for what is embedded."""

    redis: str
    folder: Path


OpenSaver = Callable[[Places], AbstractAsyncContextManager[DualWriteSaver]]


@asynccontextmanager
async def in_memory(_: Places) -> AsyncIterator[DualWriteSaver]:
    """Over dictionaries."""
    saver = DualWriteSaver(MemoryCheckpoints())
    yield saver
    saver.close()


@asynccontextmanager
async def on_redis(places: Places) -> AsyncIterator[DualWriteSaver]:
    """Over a Redis server alone, below a prefix of its own."""
    client = await RedisClient.open(places.redis, keys=Keys(uuid4().hex), cold=False)
    saver = DualWriteSaver(RedisCheckpoints(client))
    yield saver
    saver.close()
    await client.aclose()


@asynccontextmanager
async def on_embedded_redis(places: Places) -> AsyncIterator[DualWriteSaver]:
    """Over the Redis that needs no set-up."""
    async with (
        open_redis(DataDirectory(places.folder / "redis-only")) as url,
        on_redis(replace(places, redis=url)) as it,
    ):
        yield it


class Thinned(TieredCheckpoints):
    """After each write everything is archived, and all but the newest checkpoint of a namespace leaves Redis."""

    def __init__(self, storage: DualStorage) -> None:
        tiers = storage.checkpoints
        assert isinstance(tiers, TieredCheckpoints)
        super().__init__(tiers.hot, storage.archive)
        self.storage = storage

    async def put(self, record: CheckpointRecord, blobs: Sequence[BlobRecord], *, fence: int | None = None) -> None:
        await super().put(record, blobs, fence=fence)
        await self.thin(record.key.thread_id)

    async def put_writes(self, key: CheckpointKey, writes: Sequence[WriteRecord], *, fence: int | None = None) -> None:
        await super().put_writes(key, writes, fence=fence)
        await self.thin(key.thread_id)

    async def thin(self, thread_id: str) -> None:
        """Archiving trims."""
        await self.storage.flush()


class Evicted(Thinned):
    """After each write the whole thread leaves Redis."""

    async def thin(self, thread_id: str) -> None:
        await self.storage.evict(thread_id)


@asynccontextmanager
async def on_both_tiers(places: Places, thinned: type[Thinned] = Thinned) -> AsyncIterator[DualWriteSaver]:
    """Over Redis and the archive, with as little in Redis as there can be."""
    options = StorageOptions(data_dir=places.folder / "dual", redis_url=places.redis, key_prefix=uuid4().hex)
    policy = ArchiverPolicy(keep_checkpoints=1, linger=0.0)
    async with DualStorage.open(options, policy=policy) as storage:
        saver = DualWriteSaver(thinned(storage), storage=storage)
        try:
            yield saver
        finally:
            saver.close()
            await empty(storage)


async def empty(storage: DualStorage) -> None:
    """Remove every row of the archive, which the tests of a module share: opening the engine takes a while."""
    await storage.flush()
    for table in ("gg_checkpoints", "gg_blobs", "gg_writes", "gg_records", "gg_tombstones"):
        await (await storage.archive()).client.command(f"TRUNCATE TABLE {table}")


@asynccontextmanager
async def on_the_archive(places: Places) -> AsyncIterator[DualWriteSaver]:
    """Over both tiers, with nothing left in Redis."""
    async with on_both_tiers(places, Evicted) as saver:
        yield saver


SAVERS: dict[str, OpenSaver] = {
    "memory": in_memory,
    "redis": on_redis,
    "embedded": on_embedded_redis,
    "dual": on_both_tiers,
}
EXTREMES: dict[str, OpenSaver] = {**SAVERS, "archive": on_the_archive}
"""Also with every thread evicted after every write, which is slow."""
