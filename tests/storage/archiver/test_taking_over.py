"""Archivers stop, die, share and overlap; no reference is lost, and none is acknowledged before it is archived."""

import asyncio
import dataclasses
import os

import pytest

from storage.archiver import Archiver
from storage.redis.client import RedisClient
from storage.redis.keys import Keys
from tests.support.archiving import (
    BRISK,
    FLEETING,
    append,
    archiver_of,
    keys_of,
    put,
    until,
    waiting,
    within,
    write,
)
from tests.support.recording_archive import RecordingArchive
from tests.support.redis_server import RedisCluster3


async def fill(client: RedisClient) -> None:
    for number in range(5):
        for step in range(6):
            await write(client, await put(client, f"thread {number}", step))
        await append(client, "session", f"owner {number}")
        await append(client, "event", f"owner {number}")


def everything(archive: RecordingArchive) -> None:
    assert (30, 30, 30, 10) == tuple(
        len(rows) for rows in (archive.checkpoints, archive.writes, archive.blobs, archive.entries)
    )
    archive.whole()


async def die(archiver: Archiver) -> None:
    """End it where it is, as `kill -9` would: nothing is given back."""
    task, archiver._task = archiver._task, None
    assert task is not None
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("when", ["before the insert", "after the insert"])
async def test_a_crash_is_taken_over_and_every_record_is_there_once(
    when: str, client: RedisClient, archive: RecordingArchive
) -> None:
    await fill(client)
    gate, reached = (
        (archive.let_in, archive.entered) if when == "before the insert" else (archive.let_out, archive.stored)
    )
    gate.clear()
    async with archiver_of(client, archive, FLEETING) as first:
        await within(reached)
        await die(first)
    gate.set()
    left = await waiting(client)

    async with archiver_of(client, archive, FLEETING) as second:
        await second.flush()

    assert left == 70
    everything(archive)
    assert await waiting(client) == 0
    for number in range(64):
        outbox = client.keys.partition(number, "out")
        if await client.server.exists(outbox):
            (group,) = await client.server.xinfo_groups(outbox)
            assert (group["pending"], group["consumers"] <= 1) == (0, True)


async def test_what_a_dead_archiver_had_taken_goes_before_what_came_later(
    client: RedisClient, archive: RecordingArchive
) -> None:
    archive.let_in.clear()
    key = await put(client, "thread", 1)
    async with archiver_of(client, archive, FLEETING) as first:
        await within(archive.entered)
        await die(first)
    later = await put(client, "thread", 2)
    archive.let_in.set()

    order: list = []

    class Watching(RecordingArchive):
        async def insert(self, batch) -> None:
            order.extend(record.key for _, record in batch.checkpoints)
            await super().insert(batch)

    async with archiver_of(client, Watching()) as second:
        await second.flush()
    assert [key, later] == order


async def test_two_archivers_at_once_store_everything_once_by_key(
    client: RedisClient, archive: RecordingArchive
) -> None:
    policies = [dataclasses.replace(BRISK, lease=1000.0, sets=sets) for sets in ((0, 1), (2, 3))]
    async with archiver_of(client, archive, policies[0]) as one, archiver_of(client, archive, policies[1]) as other:
        await asyncio.gather(fill(client), fill_more(client))
        await asyncio.gather(one.flush(), other.flush())
        owned = one.metrics().owned, other.metrics().owned
        rows = one.metrics().rows, other.metrics().rows

    everything(archive)
    assert all(0 < number <= 32 for number in owned)
    assert all(rows)


async def fill_more(client: RedisClient) -> None:
    for _ in range(3):
        for number in range(5):
            for step in range(6):
                await write(client, await put(client, f"thread {number}", step))


async def test_a_lease_that_was_lost_during_an_insert_acknowledges_nothing(
    client: RedisClient, archive: RecordingArchive
) -> None:
    key = await put(client, "thread", 1)
    archive.let_out.clear()
    slow = dataclasses.replace(BRISK, lease=1000.0)
    async with archiver_of(client, archive, slow) as first:
        await within(archive.stored)
        lease = client.keys.partition(client.keys.partition_of("thread"), "lease")
        await client.server.set(lease, "another archiver", px=100_000)
        archive.let_out.set()
        await until(first, lambda: first.metrics().batches == 1)
        assert await waiting(client) == 1
        assert await client.server.hget(client.keys.thread("m", "thread"), "archived") is None
        await client.server.delete(lease)
        await first.flush()

    assert {key} == set(archive.checkpoints)
    assert await waiting(client) == 0


async def test_a_lease_is_renewed_while_an_insert_takes_long(client: RedisClient, archive: RecordingArchive) -> None:
    await put(client, "thread", 1)
    archive.let_in.clear()
    lease = client.keys.partition(client.keys.partition_of("thread"), "lease")
    async with archiver_of(client, archive, FLEETING) as archiver:
        await within(archive.entered)
        await client.server.pexpire(lease, 150)
        async with asyncio.timeout(5):
            while await client.server.pttl(lease) < 200:  # it goes up again only when it is renewed
                pass
        assert await client.server.get(lease) == archiver.name.encode()
        archive.let_in.set()
        await archiver.flush()


async def test_a_lease_runs_out_where_nothing_waits(client: RedisClient, archive: RecordingArchive) -> None:
    async with archiver_of(client, archive, FLEETING) as archiver:
        await fill(client)
        await archiver.flush()
        await until(archiver, lambda: archiver.metrics().owned == 0)
        assert not await keys_of(client, "*}:lease")
        await put(client, "thread", 1)
        await archiver.flush()
        assert archiver.metrics().owned > 0


async def test_closing_makes_a_last_try_and_gives_the_leases_back(
    client: RedisClient, archive: RecordingArchive
) -> None:
    async with archiver_of(client, archive, FLEETING):
        await fill(client)
    everything(archive)
    assert not await keys_of(client, "*}:lease")


async def test_closing_with_the_archive_away_ends_and_leaves_the_references(
    client: RedisClient, archive: RecordingArchive
) -> None:
    archive.failing = "away"
    async with asyncio.timeout(1.5), archiver_of(client, archive, FLEETING):
        await fill(client)
    assert await waiting(client) == 70
    assert not await keys_of(client, "*}:lease")


async def test_a_process_that_ends_soon_does_not_open_the_archive(
    client: RedisClient, archive: RecordingArchive
) -> None:
    patient = dataclasses.replace(BRISK, patience=1000.0)
    async with archiver_of(client, archive, patient) as archiver:
        await put(client, "thread", 1)
        await archiver._round_over.wait()
    assert archive.attempts == 0
    async with archiver_of(client, archive, patient) as archiver:
        await archiver.flush()
    assert archive.attempts == 1


async def test_cancellation_during_an_insert_is_clean(client: RedisClient, archive: RecordingArchive) -> None:
    await put(client, "thread", 1)
    archive.let_in.clear()

    async def work() -> None:
        async with archiver_of(client, archive, FLEETING):
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await within(archive.entered)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(working)
    assert not await keys_of(client, "*}:lease")
    assert await waiting(client) == 1


async def test_a_forked_child_leaves_its_parents_archiver_alone(
    client: RedisClient, archive: RecordingArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with archiver_of(client, archive, dataclasses.replace(BRISK, lease=1000.0)) as archiver:
        await put(client, "thread", 1)
        await archiver.flush()
        task = archiver._task
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: 1)
            await archiver.__aexit__(None, None, None)
        assert task is not None
        assert not task.done()
        assert await keys_of(client, "*}:lease")
        archiver._task = task


async def test_a_redis_that_goes_away_for_a_while_is_waited_for(
    client: RedisClient, archive: RecordingArchive, redis_url: str
) -> None:
    other = await RedisClient.open(redis_url, keys=client.keys)
    try:
        async with Archiver(other, archive.open, BRISK) as archiver:
            await fill(client)
            ids = [entry["id"] for entry in await client.server.client_list()]
            mine = await client.server.client_id()
            for name in ids:
                if int(name) != mine:
                    await client.server.execute_command("CLIENT KILL", "ID", name)
            await archiver.flush()
    finally:
        await other.aclose()
    everything(archive)


async def test_it_works_on_a_cluster(redis_cluster: RedisCluster3, archive: RecordingArchive) -> None:
    client = await RedisClient.open(redis_cluster.url, keys=Keys("archiver"), cold=False)
    try:
        async with archiver_of(client, archive, FLEETING) as archiver:
            await fill(client)
            await archiver.flush()
            assert await archiver.evict(0.0) == 15
            assert archiver.metrics().trimmed > 0
    finally:
        await client.aclose()
    everything(archive)
