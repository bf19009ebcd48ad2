"""What every `RecordStore` does, and that each does what the one in memory does."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from storage.memory import MemoryRecords
from storage.protocols import RecordStore
from storage.records import DOCUMENTS, Change, Entry, Kind, Value
from tests.support.stores import RECORD_STORES

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ODD = ["", "a\0b", "ü{7}", "\ud800", "x" * 300]


@pytest.fixture(params=RECORD_STORES)
async def records(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RecordStore]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with RECORD_STORES[request.param](request) as store:
        yield store


def change(kind: Kind = "session", owner: str = "s", **parts: Any) -> Change:
    return Change(**{"kind": kind, "owner": owner, "at": START, **parts})


def field(text: str) -> dict[str, Value]:
    return {"text": Value("t", text.encode())}


async def test_a_document_is_merged_field_by_field(records: RecordStore) -> None:
    """What a change does not name stays."""
    await records.append(change(fields={"a": Value("t", b"1")}, columns={"x": "1"}, increments={"n": 1}))
    later = START + timedelta(microseconds=1)
    merged = await records.append(
        change(at=later, fields={"b": Value("u", b"\0\xff")}, columns={"x": "2"}, increments={"n": 2, "m": 0.5})
    )

    assert merged == Entry(
        kind="session",
        owner="s",
        seq=2,
        at=later,
        fields={"a": Value("t", b"1"), "b": Value("u", b"\0\xff")},
        columns={"x": "2"},
        counters={"n": 3.0, "m": 0.5},
    )
    assert await records.latest("session", "s") == merged


async def test_entries_of_a_log_stand_beside_each_other(records: RecordStore) -> None:
    """Each has its own fields only."""
    for n in range(1, 4):
        await records.append(change("message", fields=field(str(n)), columns={"role": f"r{n}"}, increments={"n": n}))

    entries = await records.read("message", "s")

    assert [(entry.seq, entry.fields["text"].body, entry.columns, entry.counters) for entry in entries] == [
        (n, str(n).encode(), {"role": f"r{n}"}, {"n": float(n)}) for n in range(1, 4)
    ]
    assert await records.latest("message", "s") == entries[-1]


async def test_a_log_is_read_from_either_end_in_order(records: RecordStore) -> None:
    """Oldest first, always."""
    for n in range(5):
        await records.append(change("event", fields=field(str(n))))

    async def read(**asked: Any) -> list[int]:
        return [entry.seq for entry in await records.read("event", "s", **asked)]

    assert await read() == await read(newest=True) == [1, 2, 3, 4, 5]
    assert await read(after=2) == [3, 4, 5]
    assert await read(limit=2) == [1, 2]
    assert await read(limit=2, newest=True) == [4, 5]
    assert await read(after=3, limit=9, newest=True) == [4, 5]
    assert await read(after=1, limit=2) == [2, 3]
    assert await read(limit=0) == await read(limit=0, newest=True) == await read(after=9) == []


async def test_a_long_log_is_read_whole(records: RecordStore) -> None:
    """Also where a script may only pass so many values on."""
    await asyncio.gather(*(records.append(change("message")) for _ in range(1_050)))

    assert [entry.seq for entry in await records.read("message", "s")] == list(range(1, 1_051))


@pytest.mark.parametrize("kind", ["session", "message"])
async def test_a_change_may_ask_that_its_owner_exists_or_does_not(records: RecordStore, kind: Kind) -> None:
    """A refused one leaves nothing behind."""
    assert await records.append(change(kind, must="exist", increments={"n": 1})) is None
    assert await records.latest(kind, "s") is None
    assert [owner async for owner in records.owners(kind)] == []

    assert (await appended(records, change(kind, must="be_new"))).seq == 1
    assert await records.append(change(kind, must="be_new")) is None
    assert (await appended(records, change(kind, must="exist"))).seq == 2


async def test_concurrent_increments_are_all_counted(records: RecordStore) -> None:
    """And each call sees a state of its own."""
    entries = await asyncio.gather(*(records.append(change(increments={"n": 1})) for _ in range(50)))

    assert sorted(entry.seq for entry in entries if entry) == list(range(1, 51))
    assert sorted(entry.counters["n"] for entry in entries if entry) == list(range(1, 51))


async def test_of_two_concurrent_creators_one_wins(records: RecordStore) -> None:
    """The other is told."""
    entries = await asyncio.gather(*(records.append(change(must="be_new")) for _ in range(10)))

    assert sum(entry is not None for entry in entries) == 1


async def test_owners_are_named_by_their_last_change(records: RecordStore) -> None:
    """Of their kind only."""
    for owner in ("a", "b", "c", "a"):
        await records.append(change(owner=owner))
    await records.append(change("message", owner="other"))

    assert [owner async for owner in records.owners("session")] == ["a", "c", "b"]


@pytest.mark.parametrize("kind", ["session", "message"])
async def test_a_deleted_owner_is_gone_and_may_begin_again(records: RecordStore, kind: Kind) -> None:
    """From 1, with nothing of what was."""
    await records.append(change(kind, fields=field("old"), increments={"n": 5}))

    await records.delete(kind, "s")  # says whether it was in the hot tier, which a store may have left
    assert not await records.delete(kind, "s")
    assert (await records.latest(kind, "s"), list(await records.read(kind, "s"))) == (None, [])
    assert [owner async for owner in records.owners(kind)] == []

    again = await appended(records, change(kind, columns={"x": "1"}, must="be_new"))
    assert (again.seq, again.fields, again.columns, again.counters) == (1, {}, {"x": "1"}, {})


async def test_any_text_is_an_owner(records: RecordStore) -> None:
    """Also one that looks like two names joined, or has half of a surrogate pair."""
    for owner in ODD:
        await records.append(change("message", owner=owner, fields={owner: Value("t", b"")}, columns={owner: owner}))

    for owner in ODD:
        entry = await records.latest("message", owner)
        assert entry is not None
        assert (entry.owner, list(entry.fields), dict(entry.columns)) == (owner, [owner], {owner: owner})
        assert await records.latest("message", owner + "!") is None
    assert {name async for name in records.owners("message")} == set(ODD)


async def test_nobody_sees_the_record_of_another_kind_or_a_longer_name(records: RecordStore) -> None:
    """B16 of the seed: `t` must not be `t:1`."""
    await records.append(change("session", owner="t:1"))

    assert await records.latest("session", "t") is None
    assert await records.latest("context", "t:1") is None
    assert not await records.delete("session", "t")
    assert await records.latest("session", "t:1") is not None


async def test_random_operations_do_what_they_do_in_memory(records: RecordStore) -> None:
    """`--seed=N` repeats them."""
    oracle = MemoryRecords()
    ticks = count(1)
    kinds: list[Kind] = ["session", "context", "message", "event"]
    for _ in range(160):
        kind, owner = random.choice(kinds), random.choice("abc")
        match random.choice(["append"] * 6 + ["latest", "read", "read", "owners", "delete"]):
            case "append":
                made = Change(
                    kind=kind,
                    owner=owner,
                    at=START + timedelta(seconds=next(ticks)),
                    fields={random.choice("xyz"): Value(random.choice("tu"), random.randbytes(random.randrange(40)))},
                    columns=random.choice([{}, {"status": random.choice("pq")}]),
                    increments=random.choice([{}, {"n": random.randrange(-3, 4)}, {"n": 0.25, "m": 1}]),
                    must=random.choice([None, None, "exist", "be_new"]),
                )
                assert await records.append(made) == await oracle.append(made)
            case "latest":
                assert await records.latest(kind, owner) == await oracle.latest(kind, owner)
            case "read" if kind not in DOCUMENTS:
                asked = {
                    "after": random.randrange(6),
                    "limit": random.choice([None, 0, 1, 3, 10]),
                    "newest": random.random() < 0.5,
                }
                assert await records.read(kind, owner, **asked) == await oracle.read(kind, owner, **asked)
            case "owners":
                assert [o async for o in records.owners(kind)] == [o async for o in oracle.owners(kind)]
            case "delete" if random.random() < 0.4:
                await records.delete(kind, owner)
                await oracle.delete(kind, owner)
            case _:
                pass


async def appended(records: RecordStore, made: Change) -> Entry:
    entry = await records.append(made)
    assert entry is not None
    return entry


async def test_entries_of_a_log_are_appended_together_in_order(records: RecordStore) -> None:
    changes = [Change(kind="event", owner="run", at=START, columns={"n": str(number)}) for number in range(30)]
    await records.append(changes[0])

    await records.append_all(changes[1:])
    await records.append_all([])

    found = await records.read("event", "run")
    assert [(number + 1, str(number)) for number in range(30)] == [(entry.seq, entry.columns["n"]) for entry in found]
    with pytest.raises(ValueError, match="one log"):
        await records.append_all([changes[0], Change(kind="event", owner="other", at=START)])
    with pytest.raises(ValueError, match="one log"):
        await records.append_all([Change(kind="session", owner="s", at=START)])
