"""What is put into the archive is read back as it was, in process and over HTTP."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from storage.clickhouse import ClickHouseArchive
from storage.clickhouse.rows import MOST_ROWS
from storage.errors import CorruptRecord
from storage.protocols import Archive, ArchiveReader
from storage.records import (
    Batch,
    BlobRecord,
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    StoredCheckpoint,
    Tombstone,
    Value,
    WriteRecord,
)
from tests.support.archived import DAY, NOT_UTF8, blob, checkpoint, entry, value, version, write

HOSTILE = {"plain": "1", "": "empty", "q'\"`\\": "'; DROP TABLE gg_blobs; --", "{x:String}": "%(y)s", "n\0": "\0",
           "é😀": "ü", "long" * 75: "v" * 300}  # fmt: skip


async def ids(found: AsyncIterator[StoredCheckpoint]) -> list[str]:
    return [stored.record.key.checkpoint_id async for stored in found]


async def test_a_checkpoint_comes_back_as_it_was(archive: ClickHouseArchive, owner: str) -> None:
    """Every bytes column takes bytes that are not UTF-8, every text column any text."""
    seam: tuple[Archive, ArchiveReader] = (archive, archive)
    record = CheckpointRecord(
        key=CheckpointKey(owner, "ns\0|'{}", "c\udcff"),
        parent_id="parent\0",
        body=Value("msgpack+aes", NOT_UTF8),
        metadata=Value("t\0", NOT_UTF8),
        refs={owner: "v\0", "": "é"},
        labels=HOSTILE,
        reach=7,
    )
    blobs = [
        BlobRecord(channel=channel, version=of, value=Value("b\0", NOT_UTF8 + of.encode()))
        for channel, of in record.refs.items()
    ]
    wrote = WriteRecord(task_id="t\0'", idx=3, task_path="~\0", channel=owner, value=Value("", NOT_UTF8))
    await seam[0].insert(
        Batch(
            blobs=[(version(), owner, record.key.checkpoint_ns, each) for each in blobs],
            writes=[(version(), record.key, wrote)],
            checkpoints=[(version(), record)],
        )
    )

    whole = StoredCheckpoint(record=record, blobs={each.channel: each.value for each in blobs}, writes=[wrote])
    assert whole == await seam[1].checkpoint(*record.key)
    assert whole == await archive.checkpoint(owner, record.key.checkpoint_ns)
    assert [whole] == [each async for each in archive.scan(CheckpointQuery(thread_id=owner))]
    assert whole.blobs == await archive.blobs(owner, record.key.checkpoint_ns, record.refs)
    assert [record.key.checkpoint_ns] == await archive.namespaces(owner)
    assert await archive.checkpoint(owner, "") is None
    assert await archive.checkpoint(owner, record.key.checkpoint_ns, "c") is None
    assert {} == await archive.blobs(owner, "", record.refs)


async def test_an_entry_comes_back_as_it_was(archive: ClickHouseArchive, owner: str) -> None:
    at = datetime(2026, 3, 1, 23, 59, 59, 123457, tzinfo=timezone(timedelta(hours=-8)))
    stored = entry(
        "session", owner, at=at, fields={"f\0": Value("b", NOT_UTF8), "": Value("", b"")}, columns=HOSTILE,
        counters={"n": 0.1, owner: -2.0},
    )  # fmt: skip
    await archive.insert(Batch(entries=[(version(), stored)]))

    (found,) = await archive.read("session", owner)
    assert stored == found
    assert found.at.tzinfo is UTC
    assert [] == await archive.read("run", owner)


async def test_a_batch_that_is_repeated_is_stored_once(archive: ClickHouseArchive, owner: str) -> None:
    record = checkpoint(owner, "c1", refs={"ch": "1"})
    batch = Batch(
        blobs=[(version(1), owner, "", blob("ch", "1"))],
        writes=[(version(2), record.key, write(0)), (version(3), record.key, write(-1))],
        checkpoints=[(version(4), record)],
        entries=[(version(5), entry("message", owner, seq)) for seq in (1, 2)],
    )
    for _ in range(3):
        await archive.insert(batch)

    (stored,) = [each async for each in archive.scan(CheckpointQuery(thread_id=owner))]
    assert [-1, 0] == [each.idx for each in stored.writes]
    assert [1, 2] == [each.seq for each in await archive.read("message", owner)]


async def test_a_checkpoint_that_is_put_again_replaces_the_first(archive: ClickHouseArchive, owner: str) -> None:
    for number, body in ((2, "newer"), (1, "older and late")):
        await archive.insert(Batch(checkpoints=[(version(number), checkpoint(owner, "c", body=body))]))

    found = await archive.checkpoint(owner, "", "c")
    assert found is not None
    assert b"newer" == found.record.body.body


async def test_of_ordinary_writes_the_first_stays_and_of_special_ones_the_last(
    archive: ClickHouseArchive, owner: str
) -> None:
    """Whatever order they come in, and whether or not the engine has merged them."""
    record = checkpoint(owner, "c")
    await archive.insert(Batch(checkpoints=[(version(), record)]))
    for number in (2, 1, 3):
        both = [(version(number), record.key, write(idx, str(number))) for idx in (0, -1)]
        await archive.insert(Batch(writes=both))

    for merged in (False, True):
        if merged:
            await archive.compact()
        found = await archive.checkpoint(*record.key)
        assert found is not None
        assert [(-1, b"3"), (0, b"1")] == [(each.idx, each.value.body) for each in found.writes]


async def test_writes_are_sorted_by_path_task_and_index(archive: ClickHouseArchive, owner: str) -> None:
    record = checkpoint(owner, "c")
    wanted = [("", "b", 0), ("", "b", 10), ("~1", "a", -1), ("~1", "a", 2), ("~1", "c", 0)]
    rows = [(version(), record.key, write(idx, path=path, task_id=task)) for path, task, idx in reversed(wanted)]
    await archive.insert(Batch(writes=rows, checkpoints=[(version(), record)]))

    found = await archive.checkpoint(*record.key)
    assert found is not None
    assert wanted == [(each.task_path, each.task_id, each.idx) for each in found.writes]


async def test_checkpoints_are_listed_by_id_newest_first_over_namespaces_and_pages(
    archive: ClickHouseArchive, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.clickhouse.archive.KEYS", 40)
    names = [f"c{number:03}" for number in range(100)]
    await archive.insert(
        Batch(
            blobs=[(version(), owner, ns, blob("ch", "1", ns)) for ns in ("", "sub")],
            checkpoints=[
                (version(), checkpoint(owner, name, ns="sub" if number % 2 else "", refs={"ch": "1"}))
                for number, name in enumerate(names)
            ],
        )
    )
    of_thread = CheckpointQuery(thread_id=owner)

    assert names[::-1] == await ids(archive.scan(of_thread))
    assert names[::-2] == await ids(archive.scan(CheckpointQuery(thread_id=owner, checkpoint_ns="sub")))
    assert names[:50][::-1] == await ids(archive.scan(CheckpointQuery(thread_id=owner, before="c050")))
    assert names[:-41:-1] == await ids(archive.scan(CheckpointQuery(thread_id=owner, limit=40)))
    assert ["c007"] == await ids(archive.scan(CheckpointQuery(thread_id=owner, checkpoint_id="c007")))
    assert [] == await ids(archive.scan(CheckpointQuery(thread_id=owner, limit=0)))
    assert {"": b"", "sub": b"sub"} == {
        each.record.key.checkpoint_ns: each.blobs["ch"].body async for each in archive.scan(of_thread)
    }
    newest = await archive.checkpoint(owner, "sub")
    assert newest is not None
    assert "c099" == newest.record.key.checkpoint_id


async def test_checkpoints_of_all_threads_are_listed_by_id(empty: ClickHouseArchive) -> None:
    rows = [checkpoint(f"t{number % 3}", f"c{number // 2:03}", ns=f"n{number % 2}") for number in range(80)]
    deleted = [Tombstone("thread", "t1", version(), DAY)]
    await empty.insert(Batch(checkpoints=[(version(), row) for row in rows], tombstones=deleted))

    listed = [stored.record.key[::-1] async for stored in empty.scan(CheckpointQuery())]
    assert sorted((row.key[::-1] for row in rows if row.key.thread_id != "t1"), reverse=True) == listed


async def test_labels_find_checkpoints_and_are_never_read_as_sql(archive: ClickHouseArchive, owner: str) -> None:
    hostile = {**HOSTILE, "run_id": "run'\0"}
    await archive.insert(
        Batch(
            checkpoints=[
                (version(), checkpoint(owner, "a", labels=hostile)),
                (version(), checkpoint(owner, "b", labels={"plain": "2", "run_id": "other"})),
                (version(), checkpoint(owner, "encrypted", labels={"run_id": "run'\0"})),
                (version(), checkpoint(owner, "bare")),
            ]
        )
    )

    async def found(**labels: str) -> list[str]:
        return await ids(archive.scan(CheckpointQuery(thread_id=owner, labels=labels)))

    for name, text in hostile.items():
        assert "a" in await found(**{name: text})
        assert "b" not in await found(**{name: text})
        assert not {"a", "b"} & {*await found(**{name: text + "'"})}
    assert ["encrypted", "bare", "a"] == await found(**hostile), "hidden labels might be equal"
    assert ["bare"] == await found(run_id="no such run")
    assert ["encrypted", "bare"] == await found(missing="")


async def test_entries_are_read_from_either_end(archive: ClickHouseArchive, owner: str) -> None:
    await archive.insert(Batch(entries=[(version(seq), entry("event", owner, seq)) for seq in range(1, 11)]))

    async def seqs(*, after: int = 0, limit: int | None = None, newest: bool = False) -> list[int]:
        return [each.seq for each in await archive.read("event", owner, after=after, limit=limit, newest=newest)]

    assert [*range(1, 11)] == await seqs() == await seqs(newest=True)
    assert [5, 6, 7] == await seqs(after=4, limit=3)
    assert [8, 9, 10] == await seqs(limit=3, newest=True)
    assert [10] == await seqs(after=9, limit=3, newest=True)
    assert [] == await seqs(after=10) == await seqs(limit=0)


async def test_owners_and_threads_are_named_by_their_last_change(
    empty: ClickHouseArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.clickhouse.reader.OWNERS_PAGE", 3)
    changed = [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("e", 2), ("f", 2), ("a", 3), ("g", 4)]
    await empty.insert(
        Batch(
            entries=[(version(number), entry("run", name, number)) for name, number in changed],
            checkpoints=[(version(number), checkpoint(name, str(number))) for name, number in changed],
            tombstones=[Tombstone("run", "g", version(4), DAY), Tombstone("thread", "g", version(4), DAY)],
        )
    )

    assert ["a", "f", "e", "d", "c", "b"] == [name async for name in empty.owners("run")]
    assert ["a", "f", "e", "d", "c", "b"] == [name async for name in empty.threads()]
    assert [] == [name async for name in empty.owners("session")]


async def test_a_blob_that_is_missing_is_corruption_and_not_absence(archive: ClickHouseArchive, owner: str) -> None:
    record = checkpoint(owner, "c9", refs={"here": "1", "lost": "2"})
    await archive.insert(Batch(blobs=[(version(), owner, "", blob("here", "1"))], checkpoints=[(version(), record)]))

    with pytest.raises(CorruptRecord, match="lost 2") as caught:
        await archive.checkpoint(owner, "")
    assert "/".join(record.key) == caught.value.key
    assert {"here"} == (await archive.blobs(owner, "", record.refs)).keys()


async def test_a_batch_of_many_rows_goes_in_several_inserts(archive: ClickHouseArchive, owner: str) -> None:
    rows = MOST_ROWS + 1
    large = value(b"x" * 5_000_000)
    await archive.insert(
        Batch(
            entries=[
                *((version(seq), entry("event", owner, seq)) for seq in range(1, rows + 1)),
                *((version(seq), entry("task", owner, seq, fields={"f": large})) for seq in (1, 2)),
            ]
        )
    )

    assert rows == len(await archive.read("event", owner))
    assert [large, large] == [each.fields["f"] for each in await archive.read("task", owner)]


@pytest.mark.parametrize("naive", ["entry", "tombstone", "retention"])
async def test_a_time_without_a_zone_is_refused_and_nothing_is_stored(
    archive: ClickHouseArchive, owner: str, naive: str
) -> None:
    at = datetime(2026, 3, 1)  # noqa: DTZ001 - without a zone is what is refused
    batch = Batch(
        blobs=[(version(), owner, "", blob("ch", "1"))],
        entries=[(version(), entry("run", owner, at=at if naive == "entry" else DAY))],
        tombstones=[Tombstone("run", owner, 1, at)] if naive == "tombstone" else [],
    )
    with pytest.raises(ValueError, match="no zone"):
        await (archive.retain(timedelta(1), now=at) if naive == "retention" else archive.insert(batch))
    assert {} == await archive.blobs(owner, "", {"ch": "1"})
    assert [] == await archive.read("run", owner)


@pytest.mark.parametrize("reach", [-1, 2**32])
async def test_a_number_that_has_no_place_is_refused_and_nothing_is_stored(
    archive: ClickHouseArchive, owner: str, reach: int
) -> None:
    wrong = dataclasses.replace(checkpoint(owner, "b"), reach=reach)
    with pytest.raises(ValueError, match="does not fit into the archive"):
        await archive.insert(Batch(checkpoints=[(version(), checkpoint(owner, "a")), (version(), wrong)]))
    assert await archive.checkpoint(owner, "") is None


async def test_a_new_archive_is_empty_until_something_is_in_it(empty: ClickHouseArchive) -> None:
    assert await empty.is_empty()
    assert 0 == await empty.newest_version()

    await empty.insert(
        Batch(checkpoints=[(version(5), checkpoint("t", "c"))], entries=[(version(9), entry("run", "r"))])
    )
    assert not await empty.is_empty()
    assert version(9) == await empty.newest_version()
