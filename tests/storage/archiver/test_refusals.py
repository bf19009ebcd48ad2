"""What the archive does not take is kept aside, and stops nothing else."""

import dataclasses

import pytest

from storage.errors import ArchiveUnavailable, StorageRefused
from storage.records import Batch
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.inserting import MOST_REFUSED, PARTS, insert_all
from tests.support.archived import blob, checkpoint, entry, version
from tests.support.archiving import BRISK, append, archiver_of, hot_ids, keys_of, name_of, put, until, waiting, write
from tests.support.recording_archive import RecordingArchive

REFUSALS = [ValueError("too wide"), StorageRefused("too strange"), RuntimeError("not foreseen")]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: type(error).__name__)
async def test_a_row_that_is_refused_stops_nothing_else(
    refusal: Exception, client: RedisClient, archive: RecordingArchive, caplog: pytest.LogCaptureFixture
) -> None:
    bad = await put(client, "thread", 3)
    good = [await put(client, "thread", step) for step in (1, 2, 4, 5)]
    good += [await put(client, f"other {number}", 1) for number in range(20)]
    await write(client, bad)
    await append(client, "event", "run")
    archive.refuses = {bad: refusal, "run": refusal}

    async with archiver_of(client, archive, dataclasses.replace(BRISK, keep_checkpoints=1)) as archiver:
        await archiver.flush()
        assert (2, None) == (archiver.metrics().corrupt, archiver.metrics().error)
        assert not await archiver.evict_thread("thread")
        assert await archiver.evict_thread("other 7")

    assert set(good) == set(archive.checkpoints)
    assert (bad, "task", 0) in archive.writes
    assert ("thread", "", "state", "3") in archive.blobs
    assert f"the record '{'/'.join(bad)}' cannot be read: the archive does not take it ({refusal})" in caplog.text
    assert "the record 'event/run/1' cannot be read" in caplog.text
    assert 2 == sum([await client.server.hlen(key) for key in await keys_of(client, "*}:bad")])
    assert [name_of(step) for step in (1, 2, 3, 4, 5)] == await hot_ids(client, "thread")


async def test_what_alone_cannot_be_encoded_is_kept_aside_too(client: RedisClient, archive: RecordingArchive) -> None:
    bad = await put(client, "thread", 1)
    archive.refuses[bad] = ValueError("too wide")
    async with archiver_of(client, archive) as archiver:
        await archiver.flush()
        assert archiver.metrics().corrupt == 1
    assert await waiting(client) == 0


async def test_an_archive_that_refuses_everything_is_waited_for(client: RedisClient, archive: RecordingArchive) -> None:
    """A right that is missing is no fault of the rows."""
    keys = [await put(client, "thread", step) for step in range(2 * MOST_REFUSED)]
    archive.refuses = dict.fromkeys(keys, StorageRefused("you may not insert"))
    await client.server.delete(client.keys.thread("b", "thread", ""))  # so that there is nothing that it takes
    async with archiver_of(client, archive) as archiver:
        with pytest.raises(ArchiveUnavailable, match="you may not insert"):
            await archiver.flush(0.2)
        assert archiver.metrics().corrupt == 0
        assert await waiting(client) == len(keys)
        archive.refuses.clear()
        await archiver.flush()
    assert set(keys) == set(archive.checkpoints)


async def test_a_deletion_that_is_refused_is_not_kept_aside(client: RedisClient, archive: RecordingArchive) -> None:
    """What it deletes would be seen again."""
    await put(client, "thread", 1)
    other = await put(client, "other", 1)
    await RedisCheckpoints(client, outbox_limit=1_000_000).delete_thread("thread")
    archive.refuses["thread"] = StorageRefused("no tombstones today")
    async with archiver_of(client, archive) as archiver:
        await until(archiver, lambda: archiver.metrics().failures > 1)
        assert archiver.metrics().error == "no tombstones today"
        archive.refuses.clear()
        await archiver.flush()
    assert {other} == set(archive.checkpoints)
    assert ("thread", "thread") in archive.tombstones


async def test_only_what_is_refused_stays_out_of_a_batch() -> None:
    records = [checkpoint("t", name_of(number)) for number in range(100)]
    batch = Batch(
        blobs=[(version(), "t", "", blob("ch", "1"))],
        checkpoints=[(version(number), record) for number, record in enumerate(records)],
        entries=[(version(), entry("run", name)) for name in ("r1", "r2")],
    )
    archive = RecordingArchive()
    archive.refuses = {records[17].key: ValueError("a"), records[18].key: StorageRefused("b"), "r1": ValueError("c")}

    refused = await insert_all(archive.insert, batch)
    assert [batch.checkpoints[17], batch.checkpoints[18], batch.entries[0]] == [row for row, _ in refused]
    assert ["a", "b", "c"] == [str(error) for _, error in refused]
    assert 98 == len(archive.checkpoints)
    assert archive.attempts < 60
    assert {part.name for part in dataclasses.fields(Batch)} == set(PARTS)


async def test_an_archive_that_goes_away_meanwhile_is_away() -> None:
    records = [checkpoint("t", name_of(number)) for number in range(4)]
    archive = RecordingArchive()
    archive.refuses[records[3].key] = ValueError("too wide")

    async def insert(batch: Batch) -> None:
        if archive.attempts == 3:
            raise ArchiveUnavailable("gone")
        await archive.insert(batch)

    with pytest.raises(ArchiveUnavailable, match="gone"):
        await insert_all(insert, Batch(checkpoints=[(version(), record) for record in records]))
