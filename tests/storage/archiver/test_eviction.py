"""Owners leave the hot tier when they idle and the archive has all of them, with every key that they have."""

import dataclasses

from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.eviction import GUARD_SECONDS
from tests.support.archiving import BRISK, append, archiver_of, keys_of, put, until, write
from tests.support.recording_archive import RecordingArchive


async def test_a_thread_leaves_with_all_its_keys(client: RedisClient, archive: RecordingArchive) -> None:
    for space in ("", "child"):
        for step in range(3):
            await write(client, await put(client, "thread", step, space=space))
    async with archiver_of(client, archive) as archiver:
        assert not await archiver.evict_thread("thread")
        await archiver.flush()
        assert await archiver.evict_thread("thread")
        assert not await archiver.evict_thread("thread")

    assert not await keys_of(client, "*thread*")
    number = client.keys.partition_of("thread")
    assert await client.server.smembers(client.keys.partition(number, "gone")) == {b"thread"}
    assert await client.server.zcard(client.keys.partition(number, "lru")) == 0
    assert (await RedisCheckpoints(client).fetch("thread", "", None)).elsewhere


async def test_records_leave_with_all_their_keys(client: RedisClient, archive: RecordingArchive) -> None:
    for kind in ("session", "message", "event"):
        await append(client, kind, "owner")
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        assert await archiver.evict_record("message", "owner")
        assert await archiver.evict(0.0) == 2
        assert archiver.metrics().evicted == 2
    assert not await keys_of(client, "*owner*")
    number = client.keys.partition_of("owner")
    for kind in ("session", "message", "event"):
        assert await client.server.smembers(client.keys.partition(number, f"g:{kind}")) == {b"owner"}


async def test_only_what_idles_is_evicted(client: RedisClient, archive: RecordingArchive) -> None:
    for number in range(5):
        await put(client, f"thread {number}", 1)
        await append(client, "session", f"owner {number}")
    lru = client.keys.partition(client.keys.partition_of("thread 3"), "lru")
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        assert await archiver.evict(3600.0) == 0
        await client.server.zincrby(lru, -3_700_000, "thread 3")
        sessions = client.keys.partition(client.keys.partition_of("owner 1"), "k:session")
        await client.server.zincrby(sessions, -3_700_000, "owner 1")
        assert await archiver.evict(3600.0) == 2
    assert not await keys_of(client, "*thread 3*")
    assert not await keys_of(client, "*owner 1*")
    assert await keys_of(client, "*thread 2*")


async def test_what_is_not_archived_stays_however_long_it_idles(client: RedisClient, archive: RecordingArchive) -> None:
    archive.failing = "away"
    async with archiver_of(client, archive) as archiver:
        await put(client, "thread", 1)
        await append(client, "session", "owner")
        await until(archiver, lambda: archiver.metrics().failures > 0)
        assert await archiver.evict(0.0) == 0
        archive.failing = None
        await archiver.flush()
        assert await archiver.evict(0.0) == 2


async def test_more_owners_than_a_page_are_evicted_past_those_that_stay(
    client: RedisClient, archive: RecordingArchive
) -> None:
    names = [name for name in (f"owner {n}" for n in range(20_000)) if client.keys.partition_of(name) == 7][:250]
    for name in names:
        await append(client, "session", name)
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        archive.failing = "away"
        for name in names[:120]:
            await append(client, "session", name)
        await client.server.zadd(client.keys.partition(7, "k:session"), dict.fromkeys(names[:120], 1))
        assert await archiver.evict(0.0) == 130


async def test_the_sweeper_evicts_by_itself(client: RedisClient, archive: RecordingArchive) -> None:
    await put(client, "thread", 1)
    async with archiver_of(client, archive, dataclasses.replace(BRISK, evict_after=0.0)) as archiver:
        await until(archiver, lambda: archiver.metrics().evicted == 1)
    assert not await keys_of(client, "*thread*")


async def test_a_deleted_thread_leaves_only_its_guard_and_is_not_looked_for_in_the_archive(
    client: RedisClient, archive: RecordingArchive
) -> None:
    await put(client, "thread", 1)
    await RedisCheckpoints(client, outbox_limit=1_000_000).delete_thread("thread")
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        await archiver.evict(0.0)
    (guard,) = await keys_of(client, "*thread*")  # against late writers
    assert 0 < await client.server.ttl(guard) <= GUARD_SECONDS
    assert not await keys_of(client, "*}:gone")
