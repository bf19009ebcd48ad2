"""What stays of a thread in Redis after it was deleted or evicted, for how long, and what ends it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from storage.errors import Fenced
from storage.records import CheckpointKey, CheckpointRecord, StoredCheckpoint, Value, WriteRecord
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.eviction import GUARD_SECONDS, evict_thread
from tests.support.redis_server import RedisServer
from tests.support.stores import redis_client

WRITE = WriteRecord(task_id="task", idx=0, task_path="", channel="out", value=Value("t", b"1"))


@pytest.fixture
async def client(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    async with redis_client(request) as opened:
        yield opened


@pytest.fixture
def store(client: RedisClient) -> RedisCheckpoints:
    return RedisCheckpoints(client, outbox_limit=1000)


def key(own: str, ns: str = "") -> CheckpointKey:
    return CheckpointKey("t", ns, own)


def checkpoint(own: str, parent: str | None = None, ns: str = "") -> CheckpointRecord:
    return CheckpointRecord(key=key(own, ns), parent_id=parent, body=Value("t", b"b"), metadata=Value("t", b"m"))


async def evict(client: RedisClient) -> None:
    """As the archiver does, once the archive has everything."""
    meta = client.keys.thread("m", "t")
    await client.guard(client.server.hset(meta, "archived", await client.guard(client.server.hget(meta, "last"))))
    assert await evict_thread(client, "t")


async def left(client: RedisClient) -> list[int]:
    """Seconds to live of the fences and of the ids that are refused: -1 for ever, -2 if there are none."""
    return [await client.guard(client.server.ttl(client.keys.thread(letter, "t"))) for letter in "mx"]


async def guarded(client: RedisClient, store: RedisCheckpoints) -> StoredCheckpoint:
    """Evict a thread with both guards; returns the checkpoint that it had."""
    for own, parent in (("1", None), ("2", "1")):
        await store.put(checkpoint(own, parent), [], fence=7)
    await store.delete([key("1")])
    found = await store.get("t", "")
    assert found is not None
    await evict(client)
    return found


async def test_the_guards_of_an_evicted_thread_live_for_a_week_and_hold(
    client: RedisClient, store: RedisCheckpoints
) -> None:
    await guarded(client, store)

    assert all(GUARD_SECONDS - 60 < seconds <= GUARD_SECONDS for seconds in await left(client))
    await store.put_writes(key("1"), [WRITE])
    assert not (await store.fetch("t", "", "1")).elsewhere
    with pytest.raises(Fenced):
        await store.put(checkpoint("3", "2"), [], fence=6)


async def put(store: RedisCheckpoints, _: StoredCheckpoint) -> None:
    await store.put(checkpoint("3", "2"), [])


async def put_writes(store: RedisCheckpoints, _: StoredCheckpoint) -> None:
    await store.put_writes(key("2"), [WRITE])


async def delete(store: RedisCheckpoints, _: StoredCheckpoint) -> None:
    await store.delete([key("2")])


async def delete_thread(store: RedisCheckpoints, _: StoredCheckpoint) -> None:
    await store.delete_thread("t")


async def restore(store: RedisCheckpoints, found: StoredCheckpoint) -> None:
    await store.restore(found, [""], (await store.fetch("t", "")).state)
    assert (await store.fetch("t", "")).found == found


@pytest.mark.parametrize("change", [put, put_writes, delete, delete_thread, restore])
async def test_the_guards_of_a_thread_that_comes_back_live_as_long_as_it(
    client: RedisClient,
    store: RedisCheckpoints,
    change: Callable[[RedisCheckpoints, StoredCheckpoint], Awaitable[None]],
) -> None:
    await change(store, await guarded(client, store))

    assert await left(client) == [-1, -1]


async def test_who_is_late_to_an_evicted_thread_leaves_nothing_for_ever(
    client: RedisClient, store: RedisCheckpoints
) -> None:
    await store.put(checkpoint("1"), [])
    await store.delete_thread("t")
    await evict(client)
    await store.put(checkpoint("2", "1"), [])

    assert all(0 < seconds <= GUARD_SECONDS for seconds in await left(client))


async def test_a_thread_that_was_deleted_meanwhile_is_not_restored(
    client: RedisClient, store: RedisCheckpoints
) -> None:
    found = await guarded(client, store)
    state = (await store.fetch("t", "")).state
    await store.delete_thread("t")
    await store.restore(found, [""], state)

    assert await store.get("t", "") is None


async def test_the_writes_of_a_late_checkpoint_go_when_it_comes(client: RedisClient, store: RedisCheckpoints) -> None:
    """They may be there before it, and nothing tells then that they are late."""
    await store.put(checkpoint("1"), [])
    await store.delete_thread("t")
    await store.put_writes(key("2"), [WRITE])
    await store.put(checkpoint("2", "1"), [])

    assert not await client.guard(client.server.exists(client.keys.thread("w", "t", "", "2")))
    assert not await client.guard(client.server.exists(client.keys.thread("j", "t", "")))


async def test_a_restored_checkpoint_has_all_its_writes(client: RedisClient, store: RedisCheckpoints) -> None:
    """However many: Lua unpacks 8,000 values at most."""
    found = await guarded(client, store)
    writes = [replace(WRITE, task_id=f"{at:05}") for at in range(12_000)]
    await restore(store, replace(found, writes=writes))
