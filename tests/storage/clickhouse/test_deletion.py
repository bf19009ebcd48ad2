"""What is deleted stays deleted, and what is used stays."""

from collections.abc import Mapping, Sequence
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

    assert [] == await empty.retain(timedelta(days=101), now=DAY)
    assert ["idle", "idle session"] == await empty.retain(timedelta(days=30), now=DAY)
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
    assert [] == await empty.retain(timedelta(days=30), now=DAY)


async def test_what_is_in_use_or_changes_meanwhile_is_not_retained_away(
    empty: ClickHouseArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when there are more than are looked at together."""
    monkeypatch.setattr("storage.clickhouse.archive.DROPPED_TOGETHER", 2)
    old = version(at=DAY - days(100)) - version()
    names = ["a", "changing", "in use", "late", "z"]
    for number, name in enumerate(names):
        await empty.insert(thread(name, old + number))
    asked: list[Sequence[str]] = []

    async def spare(owners: Sequence[str]) -> set[str]:
        asked.append(owners)
        if "changing" in owners:
            await empty.insert(thread("changing", 1, "d"))
        return {"in use", "somebody else"}

    assert ["a", "late", "z"] == await empty.retain(timedelta(days=30), now=DAY, spare=spare)
    assert [["a", "changing"], ["in use", "late"], ["z"]] == asked
    assert ["changing", "in use"] == sorted([name async for name in empty.threads()])
    for name in ("changing", "in use"):
        for checkpoint_id in {"changing": "cd"}.get(name, "c"):
            found = await empty.checkpoint(name, "", checkpoint_id)
            assert found is not None
            assert {"ch"} == found.blobs.keys()


async def test_what_is_archived_while_its_owner_is_dropped_stays(
    empty: ClickHouseArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the deletion, and with a version that is below those of others that go with it."""
    await empty.insert(thread("a", 1))
    await empty.insert(thread("b", 9))
    delete = empty._delete

    async def late(kind: str, upto: Mapping[str, int]) -> None:
        if kind == "run":
            await empty.insert(thread("a", 5, "d"))
        await delete(kind, upto)

    monkeypatch.setattr(empty, "_delete", late)
    assert ["a", "b"] == await empty.retain(timedelta(days=30), now=DAY + days(40))
    assert ["a"] == [name async for name in empty.threads()]
    assert await empty.checkpoint("a", "", "d") is not None
    assert 1 == len(await empty.read("run", "a"))


def one_write(owner: str, number: int, body: str, *, idx: int = 0, task: str = "task", whole: bool = True) -> Batch:
    """A write of version `number`, and its checkpoint."""
    record = checkpoint(owner, "c")
    return Batch(
        writes=[(version(number), record.key, write(idx, body, task_id=task))],
        checkpoints=[(version(number), record)] if whole else [],
    )


@pytest.mark.parametrize("deletion", ["thread", "checkpoint"])
@pytest.mark.parametrize("idx", [0, -1])
async def test_writes_of_what_was_deleted_do_not_stand_in_for_those_that_came_after(
    archive: ClickHouseArchive, owner: str, deletion: str, idx: int
) -> None:
    """In whatever order they arrive, repeated, and whether or not the engine has merged them."""
    key = checkpoint(owner, "c").key
    gone = {
        "thread": Batch(tombstones=[Tombstone("thread", owner, version(20), DAY)]),
        "checkpoint": Batch(removed=[(version(20), key)]),
    }[deletion]
    for each in (
        one_write(owner, 10, "old", idx=idx),
        one_write(owner, 10, "only before", idx=idx, task="other"),
        gone,
        one_write(owner, 30, "new", idx=idx),
        one_write(owner, 40, "newer", idx=idx),
        one_write(owner, 11, "old", idx=idx, whole=False),
        gone,
    ):
        await archive.insert(each)

    for merged in (False, True):
        if merged:
            await archive.compact()
        found = await archive.checkpoint(*key)
        assert found is not None
        assert [("task", b"newer" if idx < 0 else b"new")] == [(each.task_id, each.value.body) for each in found.writes]


async def test_a_checkpoint_and_its_writes_go_together(
    archive: ClickHouseArchive, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads between two inserts does not see it without them."""
    key = checkpoint(owner, "c").key
    await archive.insert(one_write(owner, 1, "kept"))
    insert = archive.client.insert
    seen: list[int | None] = []

    async def watched(table: str, columns: Sequence[str], rows: bytes) -> None:
        await insert(table, columns, rows)
        found = await archive.checkpoint(*key)
        seen.append(None if found is None else len(found.writes))

    monkeypatch.setattr(archive.client, "insert", watched)
    await archive.insert(Batch(removed=[(version(2), key)]))
    assert [None, None] == seen


async def test_pruning_hides_and_erasing_removes(archive: ClickHouseArchive, owner: str) -> None:
    await archive.insert(thread(owner, 1))
    await archive.insert(Batch(removed=[(version(2), checkpoint(owner, "c").key)]))
    assert await archive.checkpoint(owner, "") is None
    assert {} != await archive.blobs(owner, "", {"ch": "c"})

    await archive.erase("thread", owner, at=DAY)
    await archive.erase("run", owner, at=DAY)
    assert 0 == await rows_of(archive, owner)


async def test_retention_removes_what_was_pruned_too(empty: ClickHouseArchive) -> None:
    await empty.insert(thread("pruned", 1))
    await empty.insert(Batch(removed=[(version(2), checkpoint("pruned", "c").key)]))

    assert ["pruned"] == await empty.retain(timedelta(days=30), now=DAY + days(40))
    assert 0 == await rows_of(empty, "pruned")
