"""What the seed's storage got wrong (reference/seeds.md 2B), one test for each; those of its tools are not ours."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypedDict
from uuid import UUID

import pytest
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from checkpointer import BackendSaver, DualWriteSaver
from storage.dual import DualStorage
from storage.errors import ArchiveUnavailable, ForbiddenType, StorageUnavailable
from storage.records import Batch, Change, CheckpointKey, CheckpointQuery, CheckpointRecord, Value
from storage.redis.client import RedisClient
from storage.redis.keys import PARTITIONS
from storage.redis.records import RedisRecords
from storage.redis.storage import RedisStorage
from storage.serde import ValueCodec, strict_serializer
from storage.sessions import StorageFacade
from tests.support.redis_server import RedisServer, free_port
from tests.support.stores import STORAGES, dual_storage, redis_client

START_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(params=STORAGES)
async def storage(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[StorageFacade]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with STORAGES[request.param](request) as opened:
        yield opened


@pytest.fixture
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    async with redis_client(request) as opened:
        yield opened


@pytest.fixture
async def dual(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[DualStorage]:
    async with dual_storage(request) as opened:
        yield opened


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Model(BaseModel):
    """Named in `allowed_types` by the test that wants it back."""

    n: int
    at: datetime


async def outbox_length(client: RedisClient) -> int:
    pairs = await asyncio.gather(
        *(client.guard(client.server.xlen(client.keys.partition(number, "out"))) for number in range(PARTITIONS))
    )
    return sum(pairs)


async def test_b1_a_storage_is_compiled_into_a_graph(storage: StorageFacade) -> None:
    """By its five methods, or by its checkpoints."""

    class State(TypedDict):
        n: int

    def one_more(state: State) -> State:
        return {"n": state["n"] + 1}

    graph = StateGraph(State).add_node("add", one_more).add_edge(START, "add")
    for saver in (BackendSaver(storage), DualWriteSaver(storage.checkpoints)):
        compiled: Any = graph.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "t"}}
        assert await compiled.ainvoke({"n": 1}, config) == {"n": 2}
        assert (await compiled.aget_state(config)).values == {"n": 2}


async def test_b2_a_slow_archive_slows_no_write(dual: DualStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write ends while an insert still hangs, and what was written meanwhile gets there afterwards."""
    archive = await dual.archive()
    inserting, release, insert = asyncio.Event(), asyncio.Event(), archive.insert

    async def hang(batch: Batch) -> None:
        inserting.set()
        await release.wait()
        await insert(batch)

    monkeypatch.setattr(archive, "insert", hang)
    async with asyncio.timeout(20):
        await dual.put_checkpoint("t", "c0", {})
        await inserting.wait()
        await asyncio.gather(*(dual.put_checkpoint("t", f"c{n}", {}) for n in range(1, 7)))
        release.set()
        await dual.flush()

    assert len((await dual.query("SELECT * FROM gg_records FINAL WHERE kind = 'checkpoint'")).rows) == 7


async def test_b3_a_row_that_the_archive_refused_is_inserted_again(
    dual: DualStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it takes, and once."""
    archive = await dual.archive()
    insert, refusals = archive.insert, iter(range(3))

    async def refuse_at_first(batch: Batch) -> None:
        for _ in refusals:
            raise ArchiveUnavailable("out of order")
        await insert(batch)

    monkeypatch.setattr(archive, "insert", refuse_at_first)
    await dual.add_conversation_message("s", "user", "hello")
    await dual.flush()

    assert next(refusals, None) is None
    assert len((await dual.query("SELECT * FROM gg_records WHERE kind = 'message'")).rows) == 1


async def test_b3_what_is_acknowledged_waits_for_the_archive(client: RedisClient) -> None:
    """The record and the reference to it are written in one call."""
    records = RedisRecords(client, outbox_limit=1_000_000)
    for n in range(20):
        await records.append(Change(kind="session", owner=str(n), at=START_TIME))

    assert await outbox_length(client) == 20


async def test_b5_a_redis_that_is_away_at_the_start_is_an_error() -> None:
    """And never a dictionary in this process."""
    with pytest.raises(StorageUnavailable, match="does not answer"):
        await RedisStorage.open(f"redis://127.0.0.1:{free_port()}/0")


async def test_b6_after_a_blip_what_was_refused_is_not_there_and_the_rest_is(tmp_path: Path) -> None:
    """A write is stored or raises, and health says so meanwhile."""
    with RedisServer(tmp_path, tcp=True) as server:
        storage = await RedisStorage.open(server.url)
        await storage.put_checkpoint("t", "c1", {})
        server.kill()
        refused, health, initialized = await asyncio.gather(
            storage.put_checkpoint("t", "c2", {}), storage.health_check(), storage.initialize(), return_exceptions=True
        )
        server.start()

        assert ((await storage.get_checkpoint("t")) or {})["checkpoint_id"] == "c1"
        await storage.put_checkpoint("t", "c2", {})
        assert ((await storage.get_checkpoint("t")) or {})["checkpoint_id"] == "c2"
        recovered = await storage.health_check()
        await storage.close()

    assert isinstance(refused, StorageUnavailable)
    assert isinstance(health, dict)
    assert (health["status"], health["tiers"]["redis"]["status"], initialized) == ("unhealthy", "unhealthy", False)
    assert "does not answer" in health["issues"][0]
    assert recovered["status"] == "healthy"


async def test_b7_values_come_back_as_they_were(storage: StorageFacade) -> None:
    """In sessions, messages, contexts, checkpoints and writes."""
    values = {
        "bytes": b"\0\xff",
        "datetime": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-5))),
        "date": date(2026, 1, 2),
        "set": {1, "a", (2, 3)},
        "uuid": UUID(int=7),
        "text": "ü\0",
        "numbers": {1: 2.5, "1": None},
    }
    await storage.create_session("s", "u", values)
    await storage.add_conversation_message("s", "user", "hello", values)
    await storage.store_task_context("s", values)
    await storage.put_checkpoint("t", "c", values, values)
    await storage.put_writes("t", "c", "task", [("a", values)])

    checkpoint = await storage.get_checkpoint("t", "c") or {}
    assert ((await storage.get_session("s")) or {})["metadata"] == values
    assert (await storage.get_conversation_history("s"))[0]["metadata"] == values
    assert await storage.get_task_context("s") == values
    assert (checkpoint["data"], checkpoint["metadata"]) == (values, values)
    assert await storage.get_writes("t", "c") == [("task", "a", values, 0)]


async def test_b7_models_come_back_when_they_are_allowed(storage: StorageFacade) -> None:
    """Or else the error names them; nothing is guessed."""
    model = Model(n=1, at=START_TIME)
    storage.codec = ValueCodec(strict_serializer([Model]))
    await storage.store_task_context("s", model)
    assert await storage.get_task_context("s") == model

    storage.codec = ValueCodec(strict_serializer())
    with pytest.raises(ForbiddenType, match=r"context/s.*Model"):
        await storage.get_task_context("s")


async def test_b7_what_has_no_encoding_is_refused_and_leaves_nothing(storage: StorageFacade) -> None:
    """The seed kept it in memory and said that it was stored."""
    odd = {"x": object()}
    for storing in (
        storage.create_session("s", "u", odd),
        storage.add_conversation_message("s", "user", "hello", odd),
        storage.store_task_context("s", odd),
        storage.put_checkpoint("t", "c", odd),
        storage.put_writes("t", "c", "task", [("a", object())]),
    ):
        with pytest.raises(TypeError):
            await storing

    assert (await storage.get_session("s"), await storage.get_task_context("s")) == (None, None)
    assert (await storage.get_conversation_history("s"), await storage.list_checkpoints("t")) == ([], [])


async def test_b8_writes_keep_their_task_order_and_predecessors(storage: StorageFacade) -> None:
    """A second call of a task adds to the first, and a repeated one changes nothing."""
    await storage.put_writes("t", "c", "b", [("x", 1), ("y", 2), ("x", 3)])
    await storage.put_writes("t", "c", "a", [("x", 4)])
    await storage.put_writes("t", "c", "b", [("z", 5)])
    await storage.put_writes("t", "c", "b", [("x", "again"), ("y", "again"), ("x", "again")])

    writes = await storage.get_writes("t", "c")

    assert writes == [("a", "x", 4, 0), ("b", "x", 1, 0), ("b", "y", 2, 1), ("b", "x", 3, 2), ("b", "z", 5, 3)]
    assert (writes[1].task_id, writes[1].channel, writes[1].value) == ("b", "x", 1)  # pyright: ignore[reportAttributeAccessIssue]  # a named tuple, which the seed calls a tuple
    assert await storage.get_writes("t", "another") == []


async def test_b9_the_newest_is_found_by_order_and_not_by_the_clock(storage: StorageFacade) -> None:
    """A clock may be set back; and there are namespaces, parents, filters and a cursor."""
    for n, hours in enumerate((2, 1, 0)):
        storage.clock = lambda hours=hours: START_TIME + timedelta(hours=hours)
        await storage.put_checkpoint("t", f"c{n}", {})
    assert ((await storage.get_checkpoint("t")) or {})["checkpoint_id"] == "c2"

    value = Value("null", b"")
    for own, parent, space, step in (("1", None, "", "0"), ("2", "1", "", "1"), ("3", None, "sub", "0")):
        key = CheckpointKey("t", space, own)
        labels = {"step": step}
        record = CheckpointRecord(key=key, parent_id=parent, body=value, metadata=value, labels=labels)
        await storage.checkpoints.put(record, [])

    async def found(**parts: Any) -> list[tuple[str, str | None]]:
        query = CheckpointQuery(thread_id="t", **parts)
        every = [stored.record async for stored in storage.checkpoints.scan(query)]
        return [(record.key.checkpoint_id, record.parent_id) for record in every]

    assert await found(checkpoint_ns="") == [("2", "1"), ("1", None)]
    assert await found(labels={"step": "0"}) == [("3", None), ("1", None)]
    assert await found(before="3") == [("2", "1"), ("1", None)]


async def test_b9_what_was_stored_last_stays_in_redis_whatever_its_name(
    dual: DualStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names do not sort by age, so they must not decide what is trimmed."""
    for n in range(8, 12):
        await dual.put_checkpoint("t", f"c{n}", {})
    await dual.put_writes("t", "c10", "task", [("a", 1)])
    await dual.flush()
    archive = await dual.archive()

    async def away(*_: Any, **__: Any) -> None:
        raise ArchiveUnavailable("out of order")

    monkeypatch.setattr(archive, "checkpoint", away)
    monkeypatch.setattr(archive, "blobs", away)

    assert ((await dual.get_checkpoint("t")) or {})["checkpoint_id"] == "c11"
    assert await dual.get_checkpoint("t", "c8") is not None
    assert await dual.get_writes("t", "c10") == [("task", "a", 1, 0)]


async def test_b10_what_left_redis_is_read_from_the_archive(dual: DualStorage) -> None:
    """All of it, and it goes on from there."""
    await dual.create_session("s", "u", {"a": {1}})
    await dual.store_task_context("s", {"n": 1})
    await dual.store_task_context("s", {"n": 2})
    for n in range(5):
        await dual.add_conversation_message("s", "user", f"m{n}")
        await dual.put_checkpoint("t", f"c{n}", {"n": n})
    await dual.put_writes("t", "c1", "task", [("a", 1)])
    await dual.flush()
    await dual.archiver.evict(0.0)
    hot = dual.client
    left = [await hot.guard(hot.server.zcard(hot.keys.partition(n, "k:message"))) for n in range(PARTITIONS)]
    assert sum(left) == 0

    assert [each["checkpoint_id"] for each in await dual.list_checkpoints("t")] == ["c4", "c3", "c2", "c1", "c0"]
    assert ((await dual.get_checkpoint("t", "c1")) or {})["data"] == {"n": 1}
    assert await dual.get_writes("t", "c1") == [("task", "a", 1, 0)]
    assert [message["content"] for message in await dual.get_conversation_history("s", limit=2)] == ["m3", "m4"]
    assert [state["context"]["n"] for state in await dual.get_task_context_history("s")] == [1, 2]
    assert await dual.update_session("s", increment_requests=True)
    session = await dual.get_session("s")
    assert session is not None
    assert (session["request_count"], session["metadata"]) == (1, {"a": {1}})


async def test_b11_the_history_is_the_newest_in_order(storage: StorageFacade) -> None:
    """Not the oldest, and none is dropped for a limit."""
    for n in range(1_100):
        await storage.add_conversation_message("s", "user", f"m{n}")

    newest = [message["content"] for message in await storage.get_conversation_history("s", limit=60)]
    everything = await storage.get_conversation_history("s", limit=5_000)

    assert newest == [f"m{n}" for n in range(1_040, 1_100)]
    assert [message["content"] for message in everything] == [f"m{n}" for n in range(1_100)]


async def test_b12_concurrent_messages_are_all_kept_in_one_order(storage: StorageFacade) -> None:
    """A conversation is added to and never rewritten."""

    async def say(n: int) -> list[dict[str, Any]]:
        await storage.add_conversation_message("s", "user", str(n))
        return await storage.get_conversation_history("s", limit=200)

    seen = await asyncio.gather(*(say(n) for n in range(100)))
    final = await storage.get_conversation_history("s", limit=200)

    assert len(final) == 100
    assert all(history == final[: len(history)] for history in seen)


async def test_b13_no_concurrent_update_is_lost(storage: StorageFacade) -> None:
    """Counters are added to where they are."""
    await storage.create_session("s", "u")
    await asyncio.gather(
        *(storage.update_session("s", {f"k{n}": n}, True, 0.5, n % 2 == 0) for n in range(50))  # noqa: FBT003 - as the seed is called
    )

    session = await storage.get_session("s")
    assert session is not None
    assert (session["request_count"], session["error_count"], session["total_processing_time"]) == (50, 25, 25.0)
    assert session["metadata"] == {f"k{n}": n for n in range(50)}


async def test_b14_each_session_expires_by_itself(storage: StorageFacade) -> None:
    """An active one keeps no other alive."""
    storage.clock = lambda: START_TIME
    await storage.create_session("idle", "u")
    await storage.create_session("active", "u")
    storage.clock = lambda: START_TIME + timedelta(hours=23)
    await storage.update_session("active", increment_requests=True)
    storage.clock = lambda: START_TIME + timedelta(hours=25)

    assert await storage.cleanup_expired_sessions() == 1
    assert await storage.get_session("idle") is None
    assert await storage.get_session("active") is not None


async def test_b15_writes_of_an_expired_session_go_too(storage: StorageFacade) -> None:
    """Also of threads that are not named like it."""
    storage.clock = lambda: START_TIME
    await storage.create_session("s", "u")
    await storage.put_checkpoint("t", "c", {}, {"session_id": "s"})
    await storage.put_writes("t", "c", "task", [("a", 1)])
    storage.clock = lambda: START_TIME + timedelta(hours=25)

    assert await storage.cleanup_expired_sessions() == 1
    assert (await storage.get_checkpoint("t", "c"), await storage.get_writes("t", "c")) == (None, [])
    assert [stored async for stored in storage.checkpoints.scan(CheckpointQuery())] == []


async def test_b16_nothing_leaks_to_a_shorter_name(storage: StorageFacade) -> None:
    """`t` is not `t:1`."""
    await storage.put_checkpoint("t:1", "c", {})
    await storage.put_writes("t:1", "c", "task", [("a", 1)])
    await storage.create_session("s:1", "u")
    await storage.add_conversation_message("s:1", "user", "hello")
    await storage.store_task_context("s:1", {})

    assert (await storage.get_checkpoint("t"), await storage.list_checkpoints("t")) == (None, [])
    assert await storage.get_writes("t", "1:c") == []
    assert (await storage.get_session("s"), await storage.get_task_context("s")) == (None, None)
    assert await storage.get_conversation_history("s") == []


async def test_b17_methods_return_what_their_interface_says(storage: StorageFacade) -> None:
    """`True` for what is stored, and dictionaries."""
    assert await storage.store_task_context("s", {"a": 1}) is True
    assert await storage.add_conversation_message("s", "user", "hello") is True
    assert await storage.put_writes("t", "c", "task", []) is True
    assert type((await storage.get_conversation_history("s"))[0]) is dict


async def test_b18_many_writes_are_few_inserts(dual: DualStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same batch again is no second copy."""
    archive = await dual.archive()
    insert, batches = archive.insert, list[Batch]()

    async def twice(batch: Batch) -> None:
        batches.append(batch)
        await insert(batch)
        await insert(batch)

    monkeypatch.setattr(archive, "insert", twice)
    await asyncio.gather(*(dual.add_conversation_message("s", "user", str(n)) for n in range(500)))
    await dual.flush()

    assert len(batches) < 50
    assert sum(batch.rows for batch in batches) == 500
    assert len((await dual.query("SELECT * FROM gg_records FINAL WHERE kind = 'message'")).rows) == 500


async def test_b20_times_are_utc_whatever_the_host_says(new_york: None, storage: StorageFacade) -> None:
    """With their zone, so that nobody can read them as local."""
    before = datetime.now(UTC)
    created = datetime.fromisoformat((await storage.create_session("s", "u"))["created_at"])
    after = datetime.now(UTC)
    entry = await storage.records.latest("session", "s")

    assert before <= created <= after
    assert created.utcoffset() == timedelta(0)
    assert entry is not None
    assert (entry.at, entry.at.utcoffset()) == (created, timedelta(0))


async def test_b21_no_session_touches_the_file_system(
    storage: StorageFacade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is a name, not a path."""
    (folder := tmp_path / "below").mkdir()
    monkeypatch.chdir(folder)
    for session in ("s", "../s", str(tmp_path / "s")):
        await storage.create_session(session, "u")
        await storage.store_task_context(session, {})

    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("*"))) == [folder]


async def test_b25_a_message_is_one_row_of_the_archive(client: RedisClient) -> None:
    """And not an event of its session besides."""
    storage = RedisStorage(client)
    storage.records = RedisRecords(client, outbox_limit=1_000_000)  # as over an archive
    await storage.create_session("s", "u")
    await storage.add_conversation_message("s", "user", "hello")

    assert await outbox_length(client) == 2


def test_b25_the_interface_alone_needs_no_server_and_no_provider() -> None:
    """Sessions in memory load neither a driver nor a model's client."""
    code = "import sys, storage.sessions; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout

    assert not {"openai", "anthropic", "clickhouse_connect", "chdb", "redis", "pandas"} & set(loaded.split())
