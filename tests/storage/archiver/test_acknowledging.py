"""What is taken is acknowledged in order, and what is left is known to be left."""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest

from storage.errors import StorageUnavailable
from storage.packing import pack
from storage.records import CheckpointKey
from storage.redis.archiving import ArchiverMetrics
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.collecting import Load
from storage.redis.draining import GRACE
from storage.redis.moving import Mover
from tests.support.archiving import BRISK, append, archiver_of, name_of, put, waiting, write
from tests.support.recording_archive import RecordingArchive

PATIENT = dataclasses.replace(BRISK, lease=1000.0)
"""What is not given back is not taken by chance either."""


def mover_of(client: RedisClient, **policy: Any) -> Mover:
    return Mover(client, "mover", dataclasses.replace(PATIENT, **policy), ArchiverMetrics())


async def spoil(client: RedisClient, key: CheckpointKey) -> None:
    await client.server.hset(client.keys.thread("c", key.thread_id, ""), key.checkpoint_id, b"\xff\xff\xff\xffno")


async def head(client: RedisClient, thread: str) -> dict[bytes, bytes]:
    return cast("dict[bytes, bytes]", await client.server.hgetall(client.keys.thread("m", thread)))


async def test_what_did_not_fit_into_a_batch_goes_before_what_came_later(
    client: RedisClient, archive: RecordingArchive
) -> None:
    keys = [await put(client, "thread", step) for step in range(3)]
    await write(client, keys[0], body=b"x" * 10_000)
    mover = mover_of(client, size=50, rows=1)
    await mover.take(seen := await mover.look())
    await mover.move(archive, seen, calm=True)
    left = await waiting(client)
    later = await put(client, "thread", 3)
    for _ in range(20):
        if await waiting(client):
            await mover.move(archive, await mover.look(), calm=True)

    assert 0 < left < 4
    assert await waiting(client) == 0
    assert [*keys, later] == list(archive.checkpoints)
    meta = await head(client, "thread")
    assert meta[b"last"] == meta[b"archived"]
    await mover.give_back()


async def test_references_that_were_taken_without_our_knowing_go_first(
    client: RedisClient, archive: RecordingArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server did as it was told, and its answer was lost."""
    mover = mover_of(client)
    first = await put(client, "thread", 1)
    await mover.take(seen := await mover.look())
    await mover.move(archive, seen, calm=True)
    second = await put(client, "thread", 2)
    claim = mover._outbox.claim

    async def lost(number: int, most: int, *, pending: bool) -> None:
        await claim(number, most, pending=pending)
        raise StorageUnavailable("the connection is gone")

    with monkeypatch.context() as broken:
        broken.setattr(mover._outbox, "claim", lost)
        with pytest.raises(StorageUnavailable):
            await mover.move(archive, await mover.look(), calm=True)
    third = await put(client, "thread", 3)
    await mover.move(archive, await mover.look(), calm=False)

    assert [first, second, third] == list(archive.checkpoints)
    assert await waiting(client) == 0
    await mover.give_back()


async def test_nothing_after_what_cannot_be_read_counts_as_archived(
    client: RedisClient, archive: RecordingArchive
) -> None:
    """Taken together: what came before counts, what came after has to stay."""
    keys = [await put(client, "thread", step) for step in range(5)]
    await spoil(client, keys[1])
    before = await client.server.hget(client.keys.thread("v", "thread", ""), name_of(0))
    mover = mover_of(client)
    number = client.keys.partition_of("thread")
    await mover.take(await mover.look())
    claim = await mover._outbox.claim(number, 100, pending=False)
    assert claim is not None
    claim.add(await mover._outbox.fetch(claim, 1_000_000), Load())
    receipt = mover._outbox.receipt(claim)
    (marks,) = receipt.heads.values()
    assert 1 == len(receipt.corrupt)
    assert isinstance(before, bytes)
    assert (before.decode(), "") == marks
    assert await mover._outbox.acknowledge(receipt)
    assert before == (await head(client, "thread"))[b"archived"]
    await mover.give_back()


async def test_what_could_not_be_read_is_no_matter_once_it_is_deleted(
    client: RedisClient, archive: RecordingArchive
) -> None:
    checkpoints = RedisCheckpoints(client, outbox_limit=1_000_000)
    async with archiver_of(client, archive, PATIENT) as archiver:
        await spoil(client, await put(client, "thread", 1))
        await append(client, "event", "thread")
        await client.server.hset(client.keys.record("l", "event", "thread"), "1", pack([b"v", b"99"]))
        await archiver.flush()
        assert {b"bad", b"last"} <= (await head(client, "thread")).keys()
        await put(client, "thread", 2)
        await checkpoints.delete_thread("thread")
        key = await put(client, "thread", 9)
        await archiver.flush()

        meta = await head(client, "thread")
        assert b"bad" not in meta
        assert meta[b"last"] == meta[b"archived"]
        assert key in archive.checkpoints
        assert await archiver.evict_thread("thread")
        assert not await archiver.evict_record("event", "thread")


async def expiries(client: RedisClient, threads: Sequence[str]) -> list[int]:
    return [await client.server.ttl(client.keys.thread("x", thread)) for thread in threads]


async def test_single_deletions_are_forgotten_once_they_are_archived(
    client: RedisClient, archive: RecordingArchive
) -> None:
    """But not at once: somebody may have read the archive before."""
    checkpoints = RedisCheckpoints(client, outbox_limit=1_000_000)
    threads = ["pruned", "pruned again", "deleted", "bad"]
    keys = [await put(client, thread, step) for thread in threads for step in range(3)]
    async with archiver_of(client, archive, PATIENT) as archiver:
        await archiver.flush()
        await checkpoints.delete([key for key in keys if key.checkpoint_id == name_of(0)])
        await checkpoints.delete_thread("deleted")
        await spoil(client, keys[-1])
        await put(client, "deleted", 9)
        await checkpoints.delete([CheckpointKey("deleted", "", name_of(9))])
        await client.server.hset(client.keys.thread("m", "bad"), "bad", "1-1")
        await archiver.flush()

        first, again, deleted, bad = await expiries(client, threads)
        assert 0 < first <= GRACE
        assert 0 < again <= GRACE
        assert (-1, -1) == (deleted, bad), "what still guards stays"

        archive.failing = "away"
        await checkpoints.delete([keys[4]])
        await put(client, "pruned", 5)
        assert [-1] == await expiries(client, ["pruned again"]), "this one is not archived yet"
        await client.server.expire(client.keys.thread("x", "pruned"), 7)
        archive.failing = None
        await archiver.flush()
        (first, again) = await expiries(client, threads[:2])
        assert 0 < first <= 7, "a thread that goes on does not prolong it"
        assert 0 < again <= GRACE
