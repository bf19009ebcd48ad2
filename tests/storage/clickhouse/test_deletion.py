"""What is deleted stays deleted, and what is used stays."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from storage.clickhouse import ClickHouseArchive
from storage.clickhouse.reader import BlobKey
from storage.records import Batch, CheckpointQuery, Tombstone, Value
from tests.support.archived import DAY, blob, checkpoint, days, entry, version, write


async def rows_of(archive: ClickHouseArchive, owner: str) -> int:
    """How many rows an owner has in the tables, hidden or not."""
    counts = " UNION ALL ".join(
        f"SELECT count() AS rows FROM {table} WHERE {column} = {{owner:String}}"
        for table, column in (
            ("gg_checkpoints", "thread_id"),
            ("gg_blobs", "thread_id"),
            ("gg_writes", "thread_id"),
            ("gg_records", "owner"),
        )
    )
    found = await archive.query(f"SELECT sum(rows) FROM ({counts})", {"owner": owner})
    return int(str(found.rows[0][0]))


def thread(owner: str, number: int = 0, name: str = "c") -> Batch:
    """A checkpoint with a blob and a write, and an entry, all of version `number`."""
    record = checkpoint(owner, name, refs={"ch": name})
    return Batch(
        blobs=[(version(number), owner, "", blob("ch", name))],
        writes=[(version(number), record.key, write(0))],
        checkpoints=[(version(number), record)],
        entries=[(version(number), entry("run", owner))],
    )


async def test_a_tombstone_hides_what_is_not_newer(archive: ClickHouseArchive, owner: str) -> None:
    """Also when the rows come after it, from an archiver that was slow."""
    stones = [Tombstone("thread", owner, version(5), DAY), Tombstone("run", owner, version(5), DAY)]
    await archive.insert(Batch(tombstones=stones))
    await archive.insert(thread(owner, 5))

    assert await archive.checkpoint(owner, "") is None
    assert [] == [each async for each in archive.scan(CheckpointQuery(thread_id=owner))]
    assert {} == await archive.blobs(owner, "", {"ch": "c"})
    assert [] == await archive.namespaces(owner)
    assert [] == await archive.read("run", owner)
    assert owner not in [name async for name in archive.threads()]
    assert owner not in [name async for name in archive.owners("run")]

    await archive.insert(thread(owner, 6, "later"))
    found = await archive.checkpoint(owner, "")
    assert found is not None
    assert ("later", 1, 1) == (found.record.key.checkpoint_id, len(found.blobs), len(found.writes))
    assert [1] == [each.seq for each in await archive.read("run", owner)]


async def test_an_older_tombstone_does_not_bring_back_what_a_newer_one_hides(
    archive: ClickHouseArchive, owner: str
) -> None:
    await archive.insert(thread(owner, 5))
    for upto in (5, 3):
        await archive.insert(Batch(tombstones=[Tombstone("thread", owner, version(upto), DAY)]))

    assert await archive.checkpoint(owner, "") is None


async def test_a_tombstone_is_for_its_kind_alone(archive: ClickHouseArchive, owner: str) -> None:
    await archive.insert(thread(owner))
    await archive.insert(Batch(tombstones=[Tombstone("session", owner, version(9), DAY)]))

    assert await archive.checkpoint(owner, "") is not None
    assert 1 == len(await archive.read("run", owner))


async def test_a_single_checkpoint_is_removed(archive: ClickHouseArchive, owner: str) -> None:
    """In whatever order its removal arrives, and together with it."""
    first, second, third = (checkpoint(owner, name) for name in "abc")
    await archive.insert(Batch(removed=[(version(9), first.key)]))
    await archive.insert(Batch(checkpoints=[(version(1), first), (version(1), second), (version(1), third)]))
    await archive.insert(Batch(checkpoints=[(version(2), third)], removed=[(version(3), third.key)]))

    assert ["b"] == [each.record.key.checkpoint_id async for each in archive.scan(CheckpointQuery(thread_id=owner))]
    assert await archive.checkpoint(*first.key) is None
    newest = await archive.checkpoint(owner, "")
    assert newest is not None
    assert second == newest.record


async def test_erasing_removes_the_rows_of_one_owner_of_one_kind(archive: ClickHouseArchive, owner: str) -> None:
    await archive.insert(thread(owner))
    await archive.insert(thread(f"{owner}2"))

    await archive.erase("thread", owner, at=DAY)
    assert await archive.checkpoint(owner, "") is None
    assert 1 == await rows_of(archive, owner)
    await archive.erase("run", owner, at=DAY)
    assert 0 == await rows_of(archive, owner)
    assert 4 == await rows_of(archive, f"{owner}2")

    await archive.insert(thread(owner))
    assert await archive.checkpoint(owner, "") is None, "an archiver that repeats an old batch brings nothing back"
    await archive.erase("thread", f"{owner} that never was", at=DAY)


async def test_erasing_what_was_deleted_leaves_what_came_after(archive: ClickHouseArchive, owner: str) -> None:
    await archive.insert(thread(owner, 1, "old"))
    await archive.insert(Batch(tombstones=[Tombstone("thread", owner, version(2), DAY)]))
    await archive.insert(thread(owner, 3, "new"))

    await archive.erase("thread", owner, at=DAY)
    found = await archive.checkpoint(owner, "")
    assert found is not None
    assert "new" == found.record.key.checkpoint_id
    assert {} == await archive.blobs(owner, "", {"ch": "old"})


async def test_what_is_erased_while_it_is_read_is_absent_and_not_corrupt(
    archive: ClickHouseArchive, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.insert(thread(owner))
    blobs = archive._reader.blobs

    async def erase_first(keys: Sequence[BlobKey]) -> dict[BlobKey, Value]:
        await archive.erase("thread", owner, at=DAY)
        return await blobs(keys)

    monkeypatch.setattr(archive._reader, "blobs", erase_first)
    assert await archive.checkpoint(owner, "") is None


async def test_idle_owners_go_as_a_whole_and_old_rows_of_live_ones_stay(empty: ClickHouseArchive) -> None:
    """A channel that has not changed for months is old, and needed."""
    old, new = version(at=DAY - days(100)), version(at=DAY - days(1))
    live = checkpoint("live", "c2", refs={"unchanged": "1", "changed": "2"})
    await empty.insert(
        Batch(
            blobs=[
                (old, "live", "", blob("unchanged", "1")),
                (new, "live", "", blob("changed", "2")),
                (old, "idle", "", blob("unchanged", "1")),
            ],
            writes=[(old, live.key, write(0)), (new, checkpoint("waking", "c").key, write(0))],
            checkpoints=[
                (old, checkpoint("live", "c1", refs={"unchanged": "1"})),
                (new, live),
                (old, checkpoint("idle", "c", refs={"unchanged": "1"})),
                (old, checkpoint("waking", "c")),
                (old, checkpoint("run", "c")),
            ],
            entries=[
                (old, entry("run", "idle")),
                (old, entry("session", "idle session")),
                (old, entry("run", "run", 1)),
                (new, entry("event", "run", 1)),
            ],
        )
    )

    assert 0 == await empty.retain(timedelta(days=101), now=DAY)
    assert 2 == await empty.retain(timedelta(days=30), now=DAY)
    assert ["run", "waking", "live"] == sorted(
        [name async for name in empty.threads()], key=("run", "waking", "live").index
    )
    assert [] == [name async for name in empty.owners("session")]
    assert ["run"] == [name async for name in empty.owners("run")]
    assert [0, 0] == [await rows_of(empty, name) for name in ("idle", "idle session")]
    assert ["c2", "c1"] == [
        each.record.key.checkpoint_id async for each in empty.scan(CheckpointQuery(thread_id="live"))
    ]
    found = await empty.checkpoint("live", "")
    assert found is not None
    assert {"unchanged", "changed"} == found.blobs.keys()
    assert 1 == len(found.writes)
    assert 0 == await empty.retain(timedelta(days=30), now=DAY)
