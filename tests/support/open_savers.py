"""The saver over each of its stores, opened the same way, so that one suite runs over all."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from checkpointer import DualWriteSaver
from storage.memory import MemoryCheckpoints
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.keys import Keys


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where servers are."""

    redis: str


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


SAVERS: dict[str, OpenSaver] = {"memory": in_memory, "redis": on_redis}
