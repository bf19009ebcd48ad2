"""What every `CheckpointStore` does, and that each does what the one in memory does."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from storage.errors import CorruptRecord, Fenced
from storage.memory import MemoryCheckpoints
from storage.protocols import CheckpointStore
from storage.records import (
    BlobRecord,
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    StoredCheckpoint,
    Value,
    WriteRecord,
)
from tests.support.stores import CHECKPOINT_STORES, FENCELESS

ODD = ["", "a\0b", "ü{7}/x:y", "\ud800", "x" * 300]


@pytest.fixture(params=CHECKPOINT_STORES)
async def store(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[CheckpointStore]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with CHECKPOINT_STORES[request.param](request) as one:
        yield one


@pytest.fixture(params=[name for name in CHECKPOINT_STORES if name not in FENCELESS])
async def fencing_store(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[CheckpointStore]:
    async with CHECKPOINT_STORES[request.param](request) as one:
        yield one


def checkpoint(
    own: str, parent: str | None = None, *, thread: str = "t", ns: str = "", text: str = "", **parts: Any
) -> CheckpointRecord:
    return CheckpointRecord(
        key=CheckpointKey(thread, ns, own),
        parent_id=parent,
        body=Value("msgpack", f"body {own} {text}".encode()),
        metadata=Value("msgpack", b"\0metadata\xff"),
        **parts,
    )


def blob(channel: str, version: str, text: str = "") -> BlobRecord:
    return BlobRecord(channel=channel, version=version, value=Value("t", f"{channel}{version}{text}".encode()))


def write(task: str, idx: int, text: str, path: str = "") -> WriteRecord:
    return WriteRecord(task_id=task, idx=idx, task_path=path, channel=f"c{idx}", value=Value("t", text.encode()))


def key(own: str, thread: str = "t", ns: str = "") -> CheckpointKey:
    return CheckpointKey(thread, ns, own)


async def found(store: CheckpointStore, own: str | None = None, thread: str = "t", ns: str = "") -> StoredCheckpoint:
    stored = await store.get(thread, ns, own)
    assert stored is not None
    return stored


def plain(stored: StoredCheckpoint) -> StoredCheckpoint:
    """Equal whatever kind of sequence and mapping a store returns."""
    record = replace(stored.record, refs=dict(stored.record.refs), labels=dict(stored.record.labels))
    return replace(stored, record=record, blobs=dict(stored.blobs), writes=list(stored.writes))


async def ids(store: CheckpointStore, **parts: Any) -> list[str]:
    return [stored.record.key.checkpoint_id async for stored in store.scan(CheckpointQuery(**parts))]


async def test_a_checkpoint_comes_back_whole(store: CheckpointStore) -> None:
    """Record, values and writes."""
    record = checkpoint("2", "1", refs={"a": "1", "ü\0": "2"}, labels={"source": "loop"}, reach=3)
    await store.put(record, [blob("a", "1"), blob("ü\0", "2")])
    await store.put_writes(record.key, [write("task", 0, "x")])

    assert await store.get("t", "", "2") == StoredCheckpoint(
        record=record,
        blobs={"a": blob("a", "1").value, "ü\0": blob("ü\0", "2").value},
        writes=[write("task", 0, "x")],
    )


async def test_the_newest_is_the_one_with_the_highest_id(store: CheckpointStore) -> None:
    """Of its namespace, in whatever order they came."""
    for own in ("2", "3", "1"):
        await store.put(checkpoint(own), [])
    await store.put(checkpoint("9", ns="other"), [])

    assert (await found(store)).record.key == key("3")
    assert (await found(store, "1")).record.key == key("1")


async def test_what_is_not_there_is_none(store: CheckpointStore) -> None:
    """B16 of the seed: neither is what has a longer name."""
    await store.put(checkpoint("1", thread="t:1", ns="n"), [])

    assert await store.get("t", "") is None
    assert await store.get("t:1", "") is None
    assert await store.get("t:1", "n", "2") is None


async def test_the_same_id_again_replaces_and_the_same_blob_does_not(store: CheckpointStore) -> None:
    """A blob of a version is immutable."""
    await store.put(checkpoint("1", text="old", refs={"a": "1"}), [blob("a", "1")])
    await store.put(checkpoint("1", text="new", refs={"a": "1"}), [blob("a", "1", "same version")])

    stored = await found(store)
    assert (stored.record.body.body, stored.blobs["a"]) == (b"body 1 new", blob("a", "1").value)
    assert await ids(store) == ["1"]


async def test_checkpoints_share_blobs_of_their_namespace(store: CheckpointStore) -> None:
    """A channel that did not change is not sent again; another namespace has its own."""
    await store.put(checkpoint("1", refs={"a": "1"}), [blob("a", "1")])
    await store.put(checkpoint("2", "1", refs={"a": "1", "b": "1"}), [blob("b", "1")])
    await store.put(checkpoint("2", ns="n", refs={"a": "1"}), [blob("a", "1", "other")])

    assert {name: value.body for name, value in (await found(store)).blobs.items()} == {"a": b"a1", "b": b"b1"}
    assert (await found(store, ns="n")).blobs["a"].body == b"a1other"


async def test_a_blob_that_is_missing_is_corruption(store: CheckpointStore) -> None:
    """Never an absent channel."""
    await store.put(checkpoint("1", refs={"a": "1"}), [])

    with pytest.raises(CorruptRecord, match=r"t//1.*a"):
        await store.get("t", "")


async def test_writes_may_come_before_their_checkpoint_and_are_sorted(store: CheckpointStore) -> None:
    """By path, then task, then index, whatever the order of arrival."""
    writes = [write("b", 0, "1", "p1"), write("a", 1, "2", "p2"), write("a", 0, "3", "p2"), write("a", 10, "4", "p2")]
    await store.put_writes(key("1"), writes[:2])
    await store.put(checkpoint("1"), [])
    await store.put_writes(key("1"), writes[2:])
    await store.put_writes(key("1", ns="n"), [write("z", 0, "elsewhere")])

    assert [each.value.body for each in (await found(store)).writes] == [b"1", b"3", b"2", b"4"]


async def test_the_first_write_of_an_index_stays_and_the_last_of_a_special_one(store: CheckpointStore) -> None:
    """A task that is repeated changes nothing; an interrupt or an error is the newest one."""
    await store.put(checkpoint("1"), [])
    await store.put_writes(key("1"), [write("t", 0, "first"), write("t", -1, "first")])
    await store.put_writes(key("1"), [write("t", 0, "second"), write("t", -1, "second"), write("t", 1, "new")])

    assert [(each.idx, each.value.body) for each in (await found(store)).writes] == [
        (-1, b"second"),
        (0, b"first"),
        (1, b"new"),
    ]


async def test_checkpoints_are_listed_newest_first_by_what_is_asked(store: CheckpointStore) -> None:
    """Thread, namespace, id, before, labels and limit, alone and together."""
    for n in range(1, 5):
        await store.put(checkpoint(f"{n}a", labels={"even": str(n % 2 == 0), "n": str(n)}), [])
    await store.put(checkpoint("2b", thread="u", labels={"even": "True"}), [])
    await store.put(checkpoint("3b", ns="n"), [])  # without labels, as if encrypted

    assert await ids(store) == ["4a", "3b", "3a", "2b", "2a", "1a"]
    assert await ids(store, thread_id="t") == ["4a", "3b", "3a", "2a", "1a"]
    assert await ids(store, thread_id="t", checkpoint_ns="", limit=2) == ["4a", "3a"]
    assert await ids(store, thread_id="t", checkpoint_ns="", before="3a") == ["2a", "1a"]
    assert await ids(store, thread_id="t", checkpoint_id="2a") == ["2a"]
    assert await ids(store, labels={"even": "True"}) == ["4a", "3b", "2b", "2a"]
    assert await ids(store, labels={"even": "True", "n": "4"}, limit=1) == ["4a"]
    assert await ids(store, checkpoint_ns="n") == ["3b"]
    assert await ids(store, limit=0) == []
    assert await ids(store, thread_id="nobody") == []


async def test_listed_checkpoints_have_their_values_and_writes(store: CheckpointStore) -> None:
    """As if each had been asked for."""
    await store.put(checkpoint("1", refs={"a": "1"}), [blob("a", "1")])
    await store.put_writes(key("1"), [write("t", 0, "x")])

    assert [stored async for stored in store.scan(CheckpointQuery())] == [await found(store)]


async def test_any_text_is_a_thread_or_a_namespace(store: CheckpointStore) -> None:
    """Also one that looks like two names joined."""
    for thread, ns in [*((name, "") for name in ODD), *((f"a{name}", name) for name in ODD)]:
        record = checkpoint("1", thread=thread, ns=ns)
        await store.put(record, [])
        await store.put_writes(record.key, [write("t", 0, "x")])

        assert (await found(store, thread=thread, ns=ns)).record == record
        await store.delete_thread(thread)
        assert await store.get(thread, ns) is None


async def test_a_deleted_thread_is_gone_in_all_namespaces(store: CheckpointStore) -> None:
    """And no other is touched."""
    for thread in ("t", "t2"):
        for ns in ("", "n"):
            await store.put(checkpoint("1", thread=thread, ns=ns), [])
    await store.delete_thread("t")
    await store.delete_thread("t")
    await store.delete_thread("nobody")

    assert await ids(store, thread_id="t") == []
    assert await store.get("t", "n", "1") is None
    assert await ids(store, thread_id="t2") == ["1", "1"]


async def test_a_late_writer_does_not_bring_a_deleted_thread_back(store: CheckpointStore) -> None:
    """Neither does its child, nor the child of that."""
    await store.put(checkpoint("1"), [])
    await store.put(checkpoint("2", "1"), [])
    await store.delete_thread("t")

    await store.put_writes(key("2"), [write("t", 0, "late")])
    await store.put(checkpoint("2", "1"), [])
    await store.put_writes(key("3"), [write("t", 0, "late")])
    await store.put(checkpoint("3", "2"), [])
    await store.put(checkpoint("4", "3"), [])
    await store.put_writes(key("4"), [write("t", 0, "late")])
    await store.put(checkpoint("5", "4", ns="n"), [])

    assert await ids(store, thread_id="t", checkpoint_ns="") == []


async def test_a_new_run_of_a_deleted_thread_is_stored(store: CheckpointStore) -> None:
    """It has no parent, and a newer id."""
    await store.put(checkpoint("1", refs={"a": "1"}), [blob("a", "1", "old")])
    await store.delete_thread("t")
    await store.put(checkpoint("2", refs={"a": "1"}), [blob("a", "1")])
    await store.put_writes(key("2"), [write("t", 0, "x")])
    await store.put(checkpoint("3", "2", refs={"a": "1"}), [])

    assert await ids(store) == ["3", "2"]
    assert (await found(store)).blobs["a"].body == b"a1"


async def test_a_deleted_checkpoint_takes_its_writes_and_unshared_blobs_along(store: CheckpointStore) -> None:
    """What others refer to stays, and a child of what was deleted is stored."""
    await store.put(checkpoint("1", refs={"a": "1", "b": "1"}), [blob("a", "1"), blob("b", "1", "old")])
    await store.put(checkpoint("2", "1", refs={"a": "1"}), [])
    await store.put_writes(key("1"), [write("t", 0, "x")])
    await store.delete([key("1"), key("nothing")])
    await store.put_writes(key("1"), [write("t", 0, "late")])

    assert await ids(store) == ["2"]
    assert (await found(store)).blobs["a"].body == b"a1"
    await store.put(checkpoint("3", "1", refs={"b": "1"}), [blob("b", "1")])
    assert (await found(store)).blobs["b"].body == b"b1"
    await store.put(checkpoint("1"), [])
    assert not (await found(store, "1")).writes


async def test_a_child_of_a_deleted_checkpoint_is_stored_in_a_thread_that_was_deleted_before(
    store: CheckpointStore,
) -> None:
    """Its parent is not late, it is pruned."""
    await store.put(checkpoint("1"), [])
    await store.delete_thread("t")
    await store.put(checkpoint("2"), [])
    await store.delete([key("2")])
    await store.put(checkpoint("3", "2"), [])

    assert await ids(store) == ["3"]


async def test_a_checkpoint_that_is_stored_again_after_its_deletion_takes_writes(store: CheckpointStore) -> None:
    await store.put(checkpoint("1"), [])
    await store.delete([key("1")])
    await store.put(checkpoint("1"), [])
    await store.put_writes(key("1"), [write("t", 0, "new")])

    assert [each.value.body for each in (await found(store)).writes] == [b"new"]


async def test_the_same_id_in_another_namespace_is_another_checkpoint(store: CheckpointStore) -> None:
    """Also when one of them was deleted, or came too late."""
    for ns in ("", "n"):
        await store.put(checkpoint("1", ns=ns), [])
    await store.delete([key("1")])
    await store.put_writes(key("1", ns="n"), [write("t", 0, "kept")])
    assert [each.value.body for each in (await found(store, ns="n")).writes] == [b"kept"]

    await store.delete_thread("t")
    await store.put(checkpoint("2", "1"), [])
    for own, parent in (("2", None), ("3", "2")):
        await store.put(checkpoint(own, parent, ns="n"), [])
    await store.put_writes(key("2", ns="n"), [write("t", 0, "kept")])
    assert await ids(store, thread_id="t", checkpoint_ns="") == []
    assert await ids(store, thread_id="t", checkpoint_ns="n") == ["3", "2"]
    assert [each.value.body for each in (await found(store, "2", ns="n")).writes] == [b"kept"]


async def test_half_of_a_surrogate_pair_is_a_text_anywhere(store: CheckpointStore) -> None:
    """Python has such texts: JSON from elsewhere, names of files."""
    odd = "\ud800"
    value = Value("t", b"1")
    record = checkpoint("2", f"1{odd}", refs={odd: odd}, labels={odd: odd})
    record = replace(record, key=CheckpointKey(odd, odd, f"2{odd}"), body=value, metadata=value)
    task = WriteRecord(task_id=odd, idx=0, task_path=odd, channel=odd, value=value)
    await store.put(record, [BlobRecord(channel=odd, version=odd, value=value)])
    await store.put_writes(record.key, [task])

    whole = StoredCheckpoint(record=record, blobs={odd: value}, writes=[task])
    assert plain(whole) == plain(await found(store, f"2{odd}", odd, odd))
    assert await ids(store, thread_id=odd, before=f"3{odd}") == [f"2{odd}"]
    await store.delete([record.key])
    assert await ids(store, thread_id=odd) == []


async def test_an_older_writer_is_fenced_and_one_without_a_claim_goes(fencing_store: CheckpointStore) -> None:
    """The highest token of the thread counts, also from writes."""
    store = fencing_store
    await store.put(checkpoint("1"), [], fence=9)
    await store.put(checkpoint("2"), [], fence=10)
    await store.put(checkpoint("3"), [])
    await store.put_writes(key("3"), [write("t", 0, "x")], fence=11)

    with pytest.raises(Fenced) as refused:
        await store.put(checkpoint("4"), [], fence=10)
    with pytest.raises(Fenced):
        await store.put_writes(key("3"), [write("t", 1, "x")], fence=9)
    await store.put(checkpoint("4", thread="other"), [], fence=1)

    assert (refused.value.thread_id, refused.value.token, refused.value.newest) == ("t", 10, 11)
    assert (await found(store)).record.key == key("3")
    assert len((await found(store)).writes) == 1


async def test_random_operations_do_what_they_do_in_memory(store: CheckpointStore) -> None:
    """`--seed=N` repeats them."""
    twin = Twin(store)
    for _ in range(100):
        await twin.step()


class Twin:
    """Does everything in a store and in memory, and compares."""

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self.oracle = MemoryCheckpoints()
        self.keys: list[CheckpointKey] = [key("0")]
        self.removed: set[str] = set()
        self.last = 0
        self.parent: str | None = None

    async def step(self) -> None:
        thread, ns = random.choice("tu"), random.choice(["", "n"])
        one = random.choice(self.keys)
        match random.choice(["put"] * 6 + ["writes"] * 3 + ["get"] * 3 + ["scan", "scan", "delete", "delete thread"]):
            case "put":
                await self.put(thread, ns)
            case "writes":
                tasks = [write(random.choice("ab"), random.randrange(-2, 3), str(random.random())) for _ in range(3)]
                for each in (self.store, self.oracle):
                    await each.put_writes(one, tasks)
            case "get":
                own = random.choice([None, one.checkpoint_id])
                here, there = await self.store.get(thread, ns, own), await self.oracle.get(thread, ns, own)
                assert (here and plain(here)) == (there and plain(there))
            case "scan":
                await self.scan(thread, one)
            case "delete":
                doomed = [each for each in self.keys[-6:] if random.random() < 0.3 and each.thread_id == thread]
                doomed = [each for each in doomed if each.checkpoint_ns == ns]
                self.removed |= {each.checkpoint_id for each in doomed}
                for each in (self.store, self.oracle):
                    await each.delete(doomed)
            case _:
                for each in (self.store, self.oracle):
                    await each.delete_thread(thread)

    async def put(self, thread: str, ns: str) -> None:
        parents = [each.checkpoint_id for each in self.keys if each[:2] == (thread, ns)][-4:]
        again = self.keys[-1][:2] == (thread, ns) and random.random() < 0.2
        if not again:  # an id has one namespace and one parent, for good
            self.last += 1
            self.parent = random.choice([None, *(each for each in parents if each not in self.removed)])
        refs = {channel: str(random.randrange(3)) for channel in "xy" if random.random() < 0.7}
        record = checkpoint(
            f"{self.last:04}", self.parent, thread=thread, ns=ns, refs=refs, labels=random.choice([{}, {"l": "1"}])
        )
        self.keys.append(record.key)
        for each in (self.store, self.oracle):
            await each.put(record, [blob(*ref) for ref in refs.items()])

    async def scan(self, thread: str, one: CheckpointKey) -> None:
        query = CheckpointQuery(
            thread_id=random.choice([None, thread]),
            checkpoint_ns=random.choice([None, "", "n"]),
            before=random.choice([None, one.checkpoint_id]),
            labels=random.choice([{}, {"l": "1"}, {"l": "2"}]),
        )
        here = [stored async for stored in self.store.scan(query)]
        there = [stored async for stored in self.oracle.scan(query)]
        assert {each.record.key: plain(each) for each in here} == {each.record.key: plain(each) for each in there}
        order = [stored.record.key.checkpoint_id for stored in here]
        assert order == sorted(order, reverse=True)
        few = [stored async for stored in self.store.scan(replace(query, limit=2))]
        assert [stored.record.key.checkpoint_id for stored in few] == order[:2]
