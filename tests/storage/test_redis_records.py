"""What records in Redis tell the tier above them: what may be elsewhere, what waits, and what comes back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.errors import ArchiveUnavailable, CorruptRecord, OutboxFull, StorageUnavailable
from storage.records import Change, Entry, Kind, Value
from storage.redis.client import RedisClient
from storage.redis.entries import pack_entry, unpack_entry
from storage.redis.eviction import evict_record
from storage.redis.outbox import Reference, read_reference
from storage.redis.records import ARCHIVE, RedisRecords
from tests.support.redis_server import RedisCluster3, RedisServer
from tests.support.stores import redis_client

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KINDS: list[Kind] = ["session", "message"]


@pytest.fixture
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with redis_client(request) as opened:
        yield opened


@pytest.fixture
def records(client: RedisClient) -> RedisRecords:
    return RedisRecords(client, outbox_limit=1_000_000)


def change(kind: Kind = "session", owner: str = "s", **parts: Any) -> Change:
    return Change(**{"kind": kind, "owner": owner, "at": AT, **parts})


async def references(client: RedisClient, owner: str = "s") -> list[Reference]:
    outbox = client.keys.partition(client.keys.partition_of(owner), "out")
    entries = await client.guard(client.server.xrange(outbox))
    return [read_reference(own.decode(), fields) for own, fields in entries]


async def archived(client: RedisClient, kind: Kind, owner: str = "s") -> None:
    """Do to an owner what the archiver does once the archive has all of it."""
    head = client.keys.record("h", kind, owner)
    await client.guard(client.server.hset(head, "archived", await client.guard(client.server.hget(head, "last"))))


async def evicted(client: RedisClient, kind: Kind, owner: str = "s") -> None:
    await archived(client, kind, owner)
    assert await evict_record(client, kind, owner)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_change_leaves_a_reference_and_the_entry_it_points_to(
    client: RedisClient, records: RedisRecords, kind: Kind
) -> None:
    made = [await records.append(change(kind, fields={str(n): Value("t", b"\0")}, increments={"n": 1})) for n in (1, 2)]
    await records.delete(kind, "s")

    first, second, last = await references(client)

    assert [(each.kind, each.record_kind, each.owner, each.seq) for each in (first, second, last)] == [
        ("e", kind, "s", 1),
        ("e", kind, "s", 2),
        ("d", kind, "s", 0),
    ]
    assert first.version < second.version < last.version
    await records.append(change(kind))
    for entry in [entry for entry in made if entry]:
        assert unpack_entry(kind, "s", entry.seq, pack_entry(entry)) == entry


@pytest.mark.parametrize("kind", KINDS)
async def test_the_archiver_finds_every_state_that_is_not_archived(
    client: RedisClient, records: RedisRecords, kind: Kind
) -> None:
    made = [await records.append(change(kind, columns={"n": str(n)})) for n in range(3)]

    stored = await client.guard(client.server.hgetall(client.keys.record("l", kind, "s")))

    assert [unpack_entry(kind, "s", int(seq), packed) for seq, packed in sorted(stored.items())] == made
    assert await records.read(kind, "s") == made


async def test_without_an_archive_nothing_piles_up(client: RedisClient) -> None:
    alone = RedisRecords(client, outbox_limit=None)
    for n in range(3):
        await alone.append(change(columns={"n": str(n)}))
        await alone.append(change("message"))
    await alone.delete("message", "s")

    assert await references(client) == []
    assert not await client.guard(client.server.exists(client.keys.record("l", "session", "s")))
    assert [entry.seq for entry in await alone.read("session", "s")] == [3]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_outbox_refuses_and_changes_nothing(client: RedisClient, kind: Kind) -> None:
    """Deleting goes on: it makes room."""
    small = RedisRecords(client, outbox_limit=2)
    before = [await small.append(change(kind)) for _ in range(2)]

    with pytest.raises(OutboxFull, match="'outbox_limit' is 2") as refused:
        await small.append(change(kind))

    assert (refused.value.waiting, refused.value.limit) == (2, 2)
    assert await small.latest(kind, "s") == before[-1]
    assert await small.delete(kind, "s")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_evicted_is_not_taken_for_absent(client: RedisClient, records: RedisRecords, kind: Kind) -> None:
    """Neither read as nothing, nor begun again."""
    await records.append(change(kind, increments={"n": 1}))
    await evicted(client, kind)

    assert await records.latest_or_ask(kind, "s") is ARCHIVE
    assert await records.append_or_ask(change(kind)) is ARCHIVE
    assert (await records.read_hot(kind, "s")).incomplete
    with pytest.raises(ArchiveUnavailable):
        await records.latest(kind, "s")
    with pytest.raises(ArchiveUnavailable):
        await records.append(change(kind, must="be_new"))
    assert await records.latest_or_ask(kind, "another") is None


async def test_an_evicted_document_comes_back_and_goes_on(client: RedisClient, records: RedisRecords) -> None:
    await records.append(change(fields={"a": Value("t", b"1")}, increments={"n": 1.5}))
    before = await records.append(change(columns={"c": "2"}, increments={"n": 1}))
    assert before is not None
    await evicted(client, "session")

    assert await records.restore([before])
    assert not await records.restore([before])
    assert await records.latest("session", "s") == before
    after = await records.append(change(increments={"n": 1}, must="exist"))
    assert after is not None
    assert (after.seq, after.counters, after.fields) == (3, {"n": 3.5}, before.fields)


async def test_an_evicted_log_comes_back_in_part_and_says_so(client: RedisClient, records: RedisRecords) -> None:
    made = [await records.append(change("message", columns={"n": str(n)})) for n in range(5)]
    before = [entry for entry in made if entry]
    await evicted(client, "message")
    await records.restore(before[3:])

    whole = await records.read_hot("message", "s")
    newest = await records.read_hot("message", "s", limit=2, newest=True)
    after = await records.read_hot("message", "s", after=3)

    assert (whole.entries, whole.incomplete) == (before[3:], True)
    assert (newest.entries, newest.incomplete) == (before[3:], False)
    assert (after.entries, after.incomplete) == (before[3:], False)
    assert await records.latest("message", "s") == before[-1]
    assert ((await records.append(change("message"))) or before[0]).seq == 6
    with pytest.raises(ArchiveUnavailable):
        await records.read("message", "s")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deletion_that_waits_for_the_archive_hides_what_is_there(
    request: pytest.FixtureRequest, redis_url: str, kind: Kind
) -> None:
    """Also when this Redis has lost what it had once, and the archive has to be asked for everything else."""
    async with redis_client(request, cold=True) as client:
        records = RedisRecords(client, outbox_limit=1_000_000)
        assert await records.latest_or_ask(kind, "s") is ARCHIVE
        assert await records.append_or_ask(change(kind)) is ARCHIVE
        first = await records.append_or_ask(change(kind), asked=True)
        assert isinstance(first, Entry)
        await records.delete(kind, "s")

        assert await records.latest_or_ask(kind, "s") is None
        assert not await records.restore([first])
        assert not (await records.read_hot(kind, "s")).incomplete
        again = await records.append_or_ask(change(kind))
        assert isinstance(again, Entry)
        assert again.seq == 1


async def test_what_is_here_again_is_evicted_only_once_it_is_archived(
    client: RedisClient, records: RedisRecords
) -> None:
    entry = await records.append(change())
    assert entry is not None
    assert not await evict_record(client, "session", "s")
    await evicted(client, "session")
    await records.restore([entry])
    await records.append(change())

    assert not await evict_record(client, "session", "s")
    await archived(client, "session")
    assert await evict_record(client, "session", "s")


@pytest.mark.parametrize("packed", [b"", b"\0\0\0\1", b"\0\0\0\1v\0\0\0\0019", b"\0\0\0\1v\0\0\0\0011"])
async def test_bytes_that_are_no_entry_are_corrupt(client: RedisClient, records: RedisRecords, packed: bytes) -> None:
    """Never absent."""
    await records.append(change("message"))
    await client.guard(client.server.hset(client.keys.record("l", "message", "s"), "1", packed))

    with pytest.raises(CorruptRecord, match="message/s/1"):
        await records.latest("message", "s")


async def test_a_redis_whose_memory_is_full_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """It is away, not wrong: the same write goes when there is room again."""
    with RedisServer(tmp_path, tcp=True, options={"maxmemory": "4mb", "maxmemory-policy": "noeviction"}) as server:
        client = await RedisClient.open(server.url, cold=False)
        records = RedisRecords(client, outbox_limit=None)
        large = change("message", fields={"x": Value("t", bytes(100_000))})
        answers = await asyncio.gather(*(records.append(large) for _ in range(100)), return_exceptions=True)
        kept = sum(isinstance(answer, Entry) for answer in answers)
        assert 0 < kept < 100
        assert {type(answer) for answer in answers} == {Entry, StorageUnavailable}
        assert len(await records.read("message", "s")) == kept
        await client.guard(client.server.config_set("maxmemory", "64mb"))
        assert ((await records.append(change("message"))) or large).owner == "s"
        assert len(await records.read("message", "s")) == kept + 1
        await client.aclose()


async def test_times_keep_their_microseconds_and_their_instant(records: RedisRecords) -> None:
    at = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    for one in (at, AT, at + timedelta(days=365 * 3000)):
        entry = await records.append(change("event", at=one))
        assert entry is not None
        assert entry.at == one
    assert [each.at for each in await records.read("event", "s", limit=2)] == [at, AT]


async def test_records_are_kept_on_a_cluster(redis_cluster: RedisCluster3) -> None:
    """Whatever one script touches is on one node."""
    client = await RedisClient.open(redis_cluster.url, cold=False)
    records = RedisRecords(client, outbox_limit=1_000_000)
    owners = [str(n) for n in range(50)]
    for kind in KINDS:
        for n in range(2):
            await asyncio.gather(*(records.append(change(kind, owner, columns={"n": str(n)})) for owner in owners))
        entries = [await records.latest(kind, owner) for owner in owners]
        assert [entry and (entry.seq, entry.columns) for entry in entries] == [(2, {"n": "1"})] * 50
        assert {owner async for owner in records.owners(kind)} == set(owners)
        assert [entry.seq for entry in await records.read(kind, "7")] == [1, 2]
        assert await records.delete(kind, "7")
        assert await records.latest(kind, "7") is None
    await client.aclose()


async def test_calls_of_many_owners_travel_together(records: RedisRecords) -> None:
    await asyncio.gather(*(records.append(change(owner=str(n))) for n in range(500)))

    assert {owner async for owner in records.owners("session")} == {str(n) for n in range(500)}
