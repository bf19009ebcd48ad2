"""What is written arrives in the archive, once by key, and leaves the outbox only then."""

import asyncio
import dataclasses
import logging
import random

import pytest

from storage.archiver import Archiver
from storage.errors import ArchiveUnavailable
from storage.packing import pack
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.records import RedisRecords
from tests.support.archiving import (
    BRISK,
    append,
    archiver_of,
    hot_ids,
    keys_of,
    name_of,
    put,
    until,
    waiting,
    within,
    write,
)
from tests.support.recording_archive import RecordingArchive


async def test_what_is_written_is_archived_and_leaves_the_outbox(
    client: RedisClient, archive: RecordingArchive
) -> None:
    keys = [await put(client, f"thread {number}", step) for number in range(20) for step in range(3)]
    for key in keys:
        await write(client, key)
    entries = [await append(client, kind, "owner") for kind in ("session", "message", "message")]

    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        metrics = archiver.metrics()

    assert set(keys) == set(archive.checkpoints)
    assert {(key, "task", 0) for key in keys} == set(archive.writes)
    assert entries == [entry for _, entry in archive.entries.values()]
    archive.whole()
    assert await waiting(client) == 0
    assert (60 * 3 + 3, 0, 0, None) == (metrics.rows, metrics.missing, metrics.corrupt, metrics.error)


async def test_what_is_written_while_it_runs_needs_no_flush(client: RedisClient, archive: RecordingArchive) -> None:
    async with archiver_of(client, archive) as archiver:
        key = await put(client, "thread", 1)
        archiver.notify()
        await until(archiver, lambda: key in archive.checkpoints)


async def test_notify_brings_a_sleeping_archiver_forward(client: RedisClient, archive: RecordingArchive) -> None:
    async with archiver_of(client, archive, dataclasses.replace(BRISK, poll=1000.0)) as archiver:
        archiver._due = asyncio.get_running_loop().time() + 1000.0
        key = await put(client, "thread", 1)
        archiver.notify()
        await until(archiver, lambda: key in archive.checkpoints)


async def test_references_to_the_same_become_one_row(client: RedisClient, archive: RecordingArchive) -> None:
    key = await put(client, "thread", 1)
    for number in range(40):
        await put(client, "thread", 1)
        await write(client, key, f"task {number}")

    async with archiver_of(client, archive) as archiver:
        await archiver.flush()

    assert [1 + 1 + 40] == archive.batches
    (version,) = {version for version, _ in archive.writes.values()}
    assert version > archive.checkpoints[key][0]


async def test_batches_are_bounded_by_rows_and_bytes(client: RedisClient, archive: RecordingArchive) -> None:
    for step in range(300):
        await put(client, "thread", step)
    async with archiver_of(client, archive, dataclasses.replace(BRISK, rows=100)) as archiver:
        await archiver.flush()
    by_rows = list(archive.batches)
    archive.batches.clear()
    for number in range(30):
        await write(client, await put(client, "other", number), body=b"x" * 10_000)
    async with archiver_of(client, archive, dataclasses.replace(BRISK, size=80_000)) as archiver:
        await archiver.flush()

    assert sum(by_rows) == 600
    assert max(by_rows) <= 200
    assert sum(archive.batches) == 90
    assert len(archive.batches) >= 3


async def test_a_partition_that_is_too_large_for_a_batch_is_moved_in_parts(
    client: RedisClient, archive: RecordingArchive
) -> None:
    """Without `flush`: the archiver stops after each part, and goes on where it was."""
    for step in range(50):
        await write(client, await put(client, "thread", step), body=b"x" * 1000)
    async with archiver_of(client, archive, dataclasses.replace(BRISK, size=8_000, linger=0.0)) as archiver:
        await until(archiver, lambda: len(archive.checkpoints) == len(archive.writes) == 50)
        await until(archiver, lambda: archiver.metrics().waiting == 0)
    assert len(archive.batches) >= 5
    assert await client.server.hget(client.keys.thread("m", "thread"), "archived") == await client.server.hget(
        client.keys.thread("m", "thread"), "last"
    )


async def test_flush_says_why_it_cannot(client: RedisClient, archive: RecordingArchive) -> None:
    await put(client, "thread", 1)
    archive.failing = "the archive is on holiday"
    async with archiver_of(client, archive) as archiver:
        with pytest.raises(ArchiveUnavailable, match="on holiday"):
            await archiver.flush(0.1)
        assert archiver.metrics().error == "the archive is on holiday"
        assert archiver.metrics().waiting == 1
        archive.failing = None
        await archiver.flush()
    assert len(archive.checkpoints) == 1


async def test_flush_wakes_an_archiver_that_backs_off(client: RedisClient, archive: RecordingArchive) -> None:
    await put(client, "thread", 1)
    archive.failing = "away"
    async with archiver_of(
        client, archive, dataclasses.replace(BRISK, backoff=1000.0, most_backoff=1000.0)
    ) as archiver:
        await until(archiver, lambda: archiver.metrics().failures > 0)
        archive.failing = None
        await archiver.flush()
    assert len(archive.checkpoints) == 1


async def test_an_archive_that_is_away_for_ten_thousand_references_gets_them_all(
    client: RedisClient, archive: RecordingArchive
) -> None:
    archive.failing = "away"
    async with archiver_of(client, archive) as archiver:
        for part in range(20):
            await asyncio.gather(*(append(client, "event", f"owner {n % 50}", str(part)) for n in range(500)))
        await until(archiver, lambda: archiver.metrics().waiting == 10_000 and archiver.metrics().failures > 1)
        assert archiver.metrics().lag > 0
        archive.failing = None
        await archiver.flush()
        assert archiver.metrics().error is None

    assert len(archive.entries) == 10_000
    assert await waiting(client) == 0


async def test_deletions_arrive_and_what_they_deleted_is_not_missed(
    client: RedisClient, archive: RecordingArchive, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [await put(client, "thread", step) for step in range(4)]
    await write(client, keys[3])
    gone = await put(client, "deleted", 1)
    await write(client, gone)
    await append(client, "session", "owner")
    await RedisCheckpoints(client, outbox_limit=1_000_000).delete(keys[2:])
    await RedisCheckpoints(client, outbox_limit=1_000_000).delete_thread("deleted")
    await RedisRecords(client, outbox_limit=1_000_000).delete("session", "owner")

    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        metrics = archiver.metrics()

    assert set(keys[:2]) == set(archive.checkpoints)
    assert set(keys[2:]) == set(archive.removed)
    assert {("thread", "deleted"), ("session", "owner")} == set(archive.tombstones)
    assert metrics.missing == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not await keys_of(client, "*}:h:*")


async def test_a_blob_outlives_the_checkpoint_that_it_came_with(client: RedisClient, archive: RecordingArchive) -> None:
    first = await put(client, "thread", 1, new=("shared",))
    second = await put(client, "thread", 2, refs={"shared": "1"}, new=())
    await RedisCheckpoints(client, outbox_limit=1_000_000).delete([first])

    async with archiver_of(client, archive) as archiver:
        await archiver.flush()

    assert {second} == set(archive.checkpoints)
    archive.whole()


async def test_a_payload_that_vanished_is_counted_and_named(
    client: RedisClient, archive: RecordingArchive, caplog: pytest.LogCaptureFixture
) -> None:
    key = await put(client, "thread", 1)
    other = await put(client, "thread", 2)
    await write(client, other)
    await append(client, "event", "run")
    await client.server.hdel(client.keys.thread("c", "thread", ""), name_of(1))
    await client.server.delete(client.keys.thread("w", *other))
    await client.server.delete(client.keys.record("l", "event", "run"))

    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        assert archiver.metrics().missing == 3

    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    for name in ("/".join(key), "/".join(other), "event/run/1"):
        assert any(name in error for error in errors), (name, errors)
    assert {other} == set(archive.checkpoints)
    assert await waiting(client) == 0


async def test_what_cannot_be_read_is_kept_aside_and_stops_nothing_else(
    client: RedisClient, archive: RecordingArchive, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await put(client, "thread", 1)
    good = [await put(client, "thread", step) for step in range(2, 9)]
    await client.server.hset(client.keys.thread("c", "thread", ""), bad.checkpoint_id, b"\xff\xff\xff\xffno")
    await append(client, "event", "run")
    await client.server.hset(client.keys.record("l", "event", "run"), "1", pack([b"v", b"99"]))
    number = client.keys.partition_of("thread")
    await client.server.xadd(client.keys.partition(number, "out"), {"who": "somebody else"})

    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        assert archiver.metrics().corrupt == 3
        good.append(await put(client, "thread", 9))
        await archiver.flush()
        assert not await archiver.evict_thread("thread")
        assert not await archiver.evict_record("event", "run")

    assert set(good) == set(archive.checkpoints)
    assert "the record 'thread//00000001' cannot be read" in caplog.text
    kept = [await client.server.hlen(key) for key in await keys_of(client, "*}:bad")]
    assert sum(kept) == 3
    head = await client.server.hgetall(client.keys.thread("m", "thread"))
    assert head.get(b"archived") is None  # nothing before it was archived, and all after it may have to come again
    assert bad.checkpoint_id in await hot_ids(client, "thread")


async def test_ids_do_not_go_back_with_the_clock(client: RedisClient, archive: RecordingArchive) -> None:
    number = client.keys.partition_of("thread")
    future = "99999999999999-0"  # as if the clock of Redis had been there, and was set back
    await client.server.xadd(client.keys.partition(number, "out"), {"k": "d", "r": "thread", "t": "none"}, id=future)
    await client.server.xdel(client.keys.partition(number, "out"), future)
    async with archiver_of(client, archive) as archiver:
        for step in range(6):
            await put(client, "thread", step)
            await archiver.flush()
        assert archiver.metrics().lag == 0.0

    versions = [version for version, _ in archive.checkpoints.values()]
    assert versions == sorted(versions)
    assert len(set(versions)) == 6
    assert await hot_ids(client, "thread") == [name_of(step) for step in (3, 4, 5)]


async def test_the_archive_is_opened_when_there_is_something_for_it(
    client: RedisClient, archive: RecordingArchive
) -> None:
    opened = asyncio.Event()

    async def open_archive() -> RecordingArchive:
        opened.set()
        return archive

    async with Archiver(client, open_archive, BRISK) as archiver:
        await archiver._round_over.wait()
        assert not opened.is_set()
        await put(client, "thread", 1)
        await within(opened)


async def test_an_archive_that_another_process_holds_is_left_to_it(
    client: RedisClient, archive: RecordingArchive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tries = 0

    async def open_archive() -> RecordingArchive:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise ArchiveUnavailable("chdb is open elsewhere", owner=4711)
        return archive

    key = await put(client, "thread", 1)
    async with Archiver(client, open_archive, BRISK) as archiver:
        await until(archiver, lambda: tries == 2)
        assert "4711" in (archiver.metrics().error or "")
        assert archiver.metrics().owned == 0
        await until(archiver, lambda: key in archive.checkpoints)

    assert [record.getMessage() for record in caplog.records].count(
        "archiving is left to another process: chdb is open elsewhere; process 4711 holds it"
    ) == 1


async def test_random_sequences_arrive_as_they_are(client: RedisClient, archive: RecordingArchive) -> None:
    choose = random.Random(random.random())
    expected: dict = {}
    async with archiver_of(client, archive) as archiver:
        for _ in range(400):
            thread, step = f"thread {choose.randrange(5)}", choose.randrange(20)
            match choose.randrange(30):
                case 0:
                    archive.failing = None
                    await archiver.flush()
                case 1:
                    archive.failing = "away"
                case 2:
                    await archiver.evict(0.0)
                case _:
                    pass
            key = await put(client, thread, step)
            expected[key] = choose.randrange(9)
            await write(client, key, idx=-1, body=str(expected[key]).encode())
        archive.failing = None
        await archiver.flush()

    assert set(expected) == set(archive.checkpoints)
    for key, number in expected.items():
        assert archive.writes[key, "task", -1][1].value.body == str(number).encode()
    archive.whole()
