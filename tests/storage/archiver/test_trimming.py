"""What leaves the hot tier is archived, and older than what stays."""

import dataclasses
import random

from storage.records import NAMED
from storage.redis.client import RedisClient
from storage.redis.records import RedisRecords
from storage.redis.trimming import trim_named, trim_records, trim_thread
from tests.support.archiving import BRISK, append, archiver_of, hot_ids, keys_of, name_of, put, write
from tests.support.recording_archive import RecordingArchive


async def test_the_newest_stay_with_their_writes_and_blobs(client: RedisClient, archive: RecordingArchive) -> None:
    refs = {"rare": "0"}
    await write(client, await put(client, "thread", 0, new=("state", "rare")))
    for step in range(1, 10):
        await write(client, await put(client, "thread", step, refs=refs))
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        assert archiver.metrics().trimmed == 7

    server, of = client.server, client.keys.thread
    kept = [name_of(step) for step in (7, 8, 9)]
    assert await hot_ids(client, "thread") == kept
    for letter in "crv":
        assert {name.encode() for name in kept} == set(await server.hkeys(of(letter, "thread", "")))
    blobs = {f"state\0{step}".encode() for step in (7, 8, 9)} | {b"rare\x000"}
    assert blobs == set(await server.hkeys(of("b", "thread", "")))
    assert {of("w", "thread", "", name) for name in kept} == await keys_of(client, "*}:w:*")
    assert await server.zcard(of("j", "thread", "")) == 3
    assert await server.hget(of("m", "thread"), "trimmed") == b"1"
    assert len(archive.checkpoints) == 10


async def test_namespaces_are_trimmed_for_themselves(client: RedisClient, archive: RecordingArchive) -> None:
    for step in range(5):
        await put(client, "thread", step)
        await put(client, "thread", step, space="child")
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
    for space in ("", "child"):
        assert len(await hot_ids(client, "thread", space)) == 3


async def test_what_rebuilds_the_newest_stays_with_it(client: RedisClient, archive: RecordingArchive) -> None:
    for step in range(10):
        await put(client, "thread", step, reach=min(step, 4))
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
    assert await hot_ids(client, "thread") == [name_of(step) for step in range(3, 10)]


async def test_nothing_is_dropped_that_is_not_archived(client: RedisClient) -> None:
    for step in range(6):
        await put(client, "thread", step)
    meta = client.keys.thread("m", "thread")
    assert await trim_thread(client, "thread", "", name_of(5), 1) == 0
    changed = await client.server.hget(client.keys.thread("v", "thread", ""), name_of(2))
    await client.server.hset(meta, "archived", changed)
    await write(client, ("thread", "", name_of(1)))  # pyright: ignore[reportArgumentType]  # a plain tuple will do
    assert await trim_thread(client, "thread", "", name_of(5), 1) == 2
    assert await hot_ids(client, "thread") == [name_of(step) for step in (1, 3, 4, 5)]


async def test_outbox_ids_are_compared_as_numbers(client: RedisClient) -> None:
    for step in range(3):
        await put(client, "thread", step)
    changed = client.keys.thread("v", "thread", "")
    await client.server.hset(changed, mapping={name_of(0): "9-9", name_of(1): "10-2", name_of(2): "10-10"})
    await client.server.hset(client.keys.thread("m", "thread"), "archived", "10-2")
    assert await trim_thread(client, "thread", "", name_of(2), 0) == 2
    assert await hot_ids(client, "thread") == [name_of(2)]


async def test_writes_without_their_checkpoint_go_when_they_are_old(
    client: RedisClient, archive: RecordingArchive
) -> None:
    key = await put(client, "thread", 0)
    async with archiver_of(client, archive) as archiver:
        for step in range(1, 6):
            await put(client, "thread", step)
        await archiver.flush()
        await write(client, key, "late")  # its checkpoint has left Redis
        await archiver.flush()
        assert await keys_of(client, "*}:w:*")
        await put(client, "thread", 6)
        await archiver.flush()
    assert not await keys_of(client, "*}:w:*")
    assert (key, "late", 0) in archive.writes


async def test_of_named_checkpoints_those_stored_last_stay_whatever_their_names(
    client: RedisClient, archive: RecordingArchive
) -> None:
    """Each has a namespace of its own."""
    thread = f"{NAMED}/thread"
    keep = dataclasses.replace(BRISK, keep_checkpoints=1, keep_named=2)
    async with archiver_of(client, archive, keep) as archiver:
        for step in (9, 10, 1, 7, 3):
            key = await put(client, thread, step, space=f"{NAMED}/{step}")
            await put(client, thread, step, space=f"{NAMED}-writes/{step}", new=())
            await write(client, key)
        await archiver.flush()
        await put(client, thread, 7, space=f"{NAMED}/7")
        await archiver.flush()
    spaces = {f"{NAMED}{kind}/{step}".encode() for kind in ("", "-writes") for step in (7, 3)}
    assert spaces == await client.server.smembers(client.keys.thread("n", thread))
    for letter, hot in (("i", 4), ("c", 4), ("r", 4), ("v", 4), ("b", 2), ("j", 2), ("w", 2)):
        assert hot == len(await keys_of(client, f"*}}:{letter}:{thread}*")), letter
    assert await client.server.hget(client.keys.thread("m", thread), "trimmed") == b"1"
    assert len(archive.checkpoints) == 10
    assert len(archive.writes) == 5


async def test_named_checkpoints_that_are_not_archived_stay(client: RedisClient) -> None:
    thread = f"{NAMED}/thread"
    for step in range(4):
        await put(client, thread, step, space=f"{NAMED}/{step}")
    meta = client.keys.thread("m", thread)
    assert await trim_named(client, thread, 1) == 0
    changed = await client.server.hget(client.keys.thread("v", thread, f"{NAMED}/1"), name_of(1))
    await client.server.hset(meta, "archived", changed)
    assert await trim_named(client, thread, 1) == 2
    assert {f"{NAMED}/{step}".encode() for step in (2, 3)} == await client.server.smembers(
        client.keys.thread("n", thread)
    )


async def test_random_trimming_never_drops_what_is_not_archived(client: RedisClient, archive: RecordingArchive) -> None:
    choose = random.Random(random.random())
    written: set = set()
    async with archiver_of(client, archive, dataclasses.replace(BRISK, keep_checkpoints=1)) as archiver:
        for step in range(150):
            thread = f"thread {choose.randrange(3)}"
            key = await put(client, thread, step)
            written.add(key)
            if choose.random() < 0.5:
                await write(client, choose.choice(sorted(written)), f"task {step}")
            match choose.randrange(12):
                case 0:
                    archive.failing = None
                    await archiver.flush()
                case 1:
                    archive.failing = "away"
                case _:
                    await trim_thread(client, *key, 1)
            for name in ("thread 0", "thread 1", "thread 2"):
                hot = await hot_ids(client, name)
                gone = {key for key in written if key.thread_id == name and key.checkpoint_id not in hot}
                assert gone <= set(archive.checkpoints)
                if any(key.thread_id == name for key in written):
                    assert max(key for key in written if key.thread_id == name).checkpoint_id in hot
        archive.failing = None
        await archiver.flush()
    assert written == set(archive.checkpoints)
    archive.whole()


async def test_of_documents_the_state_stays_and_of_logs_the_newest(
    client: RedisClient, archive: RecordingArchive
) -> None:
    keep = dataclasses.replace(BRISK, keep_entries={"event": 4, "message": 1000})
    for number in range(10):
        await append(client, "session", "owner", str(number))
        await append(client, "event", "owner", str(number))
        await append(client, "message", "owner", str(number))
    async with archiver_of(client, archive, keep) as archiver:
        await archiver.flush()

    server, of = client.server, client.keys.record
    assert await server.hlen(of("l", "session", "owner")) == 0
    assert sorted(await server.hkeys(of("l", "event", "owner"))) == [b"10", b"7", b"8", b"9"]
    assert await server.hget(of("h", "event", "owner"), "first") == b"7"
    assert await server.hlen(of("l", "message", "owner")) == 10
    records = RedisRecords(client, outbox_limit=1_000_000)
    for kind in ("session", "event"):
        latest = await records.latest(kind, "owner")
        assert latest is not None
        assert (latest.seq, latest.fields["content"].body) == (10, b"9")
    assert [entry.seq for entry in await records.read("session", "owner")] == [10]
    assert len(archive.entries) == 30


async def test_a_second_life_is_not_trimmed_for_the_first(client: RedisClient) -> None:
    """Counting starts again at 1, and what was archived of the first life says nothing of the second."""
    await append(client, "session", "owner", "first life")
    await RedisRecords(client, outbox_limit=1_000_000).delete("session", "owner")
    await append(client, "session", "owner", "second life")
    number = client.keys.partition_of("owner")
    entries = client.keys.record("l", "session", "owner")

    assert await trim_records(client, number, {("session", "owner"): 1}, {}) == 0
    assert await client.server.hlen(entries) == 1
    await client.server.xtrim(client.keys.partition(number, "out"), maxlen=1, approximate=False)  # as if archived
    assert await trim_records(client, number, {("session", "owner"): 1}, {}) == 1
