"""What happens between the two tiers: what leaves Redis is still there."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from checkpointer import DualWriteSaver
from checkpointer.codec import key_of
from storage.archiver import ArchiverPolicy
from storage.dual import DualStorage, StorageOptions
from storage.errors import ArchiveUnavailable, CorruptRecord, Fenced, ForbiddenType, ThreadDeleted
from storage.records import CheckpointQuery
from storage.redis import Keys, RedisCheckpoints, RedisClient
from storage.runs import FENCE
from storage.serde import encrypted, strict_serializer
from tests.checkpointer.test_graphs import chain
from tests.support.open_savers import Places, empty


class Opened:
    """Both tiers, which can be closed and opened again."""

    def __init__(self, places: Places) -> None:
        self.options = StorageOptions(
            data_dir=places.folder / "dual", redis_url=places.redis, key_prefix=uuid4().hex, keep_checkpoints=2
        )

    def open(self, **more: Any) -> Any:
        """For `async with`."""
        return DualStorage.open(self.options, **more)


@pytest.fixture
async def tiers(places: Places) -> AsyncIterator[Opened]:
    opened = Opened(places)
    yield opened
    async with opened.open() as storage:
        await empty(storage)


@pytest.fixture
async def both(tiers: Opened) -> AsyncIterator[DualStorage]:
    async with tiers.open() as storage:
        yield storage


@pytest.fixture
def saver(both: DualStorage) -> DualWriteSaver:
    return DualWriteSaver(both.checkpoints, storage=both)


def at(thread: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


async def fill(saver: DualWriteSaver, thread: str, count: int) -> list[Any]:
    """Checkpoints with one channel that changes, one that never does, and a write each."""
    config, configs = at(thread), []
    for number in range(count):
        stored = empty_checkpoint()
        stored["channel_values"] = {"n": [number], "same": ["long", "ago"]}
        stored["channel_versions"] = {"n": f"{number:04}", "same": "0000"}
        new: Any = {"n": f"{number:04}", **({"same": "0000"} if number == 0 else {})}
        config = await saver.aput(config, stored, {"source": "loop", "step": number}, new)
        await saver.aput_writes(config, [("n", number)], "task")
        configs.append(config)
    return configs


async def hot(storage: DualStorage, thread: str) -> int:
    """How many checkpoints of a thread are in Redis."""
    checkpoints = RedisCheckpoints(storage.client)
    _, keys = await checkpoints.ids(CheckpointQuery(thread_id=thread))
    return len(keys)


async def values(saver: DualWriteSaver, thread: str) -> list[Any]:
    return [one.checkpoint["channel_values"]["n"][0] async for one in saver.alist(at(thread))]


async def test_put_put_writes_and_get_are_one_round_trip_each(places: Places) -> None:
    client = await RedisClient.open(places.redis, keys=Keys(uuid4().hex), cold=False)
    saver = DualWriteSaver(RedisCheckpoints(client, outbox_limit=1_000_000))
    await fill(saver, "t", 1)
    await saver.aget_tuple(at("t"))  # Redis knows the scripts from here on

    async def calls() -> int:
        stats: Any = await client.server.info("commandstats")
        return sum(
            stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval", "multi", "watch")
        )

    seen: list[int] = []
    before = await calls()
    config = await saver.aput(at("t"), empty_checkpoint(), {"source": "loop"}, {})
    seen.append(await calls() - before)
    await saver.aput_writes(config, [("a", 1), ("b", [2]), ("__interrupt__", 3)], "task")
    seen.append(await calls() - before)
    await saver.aget_tuple(at("t"))
    seen.append(await calls() - before)
    await client.aclose()

    assert [1, 2, 3] == seen


async def test_only_the_newest_checkpoints_stay_in_redis(both: DualStorage, saver: DualWriteSaver) -> None:
    configs = await fill(saver, "t", 12)

    await saver.aflush()

    assert 2 == await hot(both, "t")
    assert list(reversed(range(12))) == await values(saver, "t")
    for limit in (0, 1, 3):
        query = CheckpointQuery(thread_id="t", checkpoint_ns="", limit=limit)
        assert limit == len([one async for one in both.checkpoints.scan(query)])
    old = await saver.aget_tuple(configs[3])
    assert old is not None
    assert {"n": [3], "same": ["long", "ago"]} == old.checkpoint["channel_values"]
    assert [("task", "n", 3)] == old.pending_writes
    assert configs[2] == old.parent_config


async def test_an_evicted_thread_comes_back_when_it_is_used(both: DualStorage, saver: DualWriteSaver) -> None:
    configs = await fill(saver, "t", 5)

    assert await saver.aevict("t")
    assert 0 == await hot(both, "t")
    assert list(reversed(range(5))) == await values(saver, "t")

    back = await saver.aget_tuple(at("t"))
    assert back is not None
    assert ([4], [("task", "n", 4)]) == (back.checkpoint["channel_values"]["n"], back.pending_writes)
    assert 1 == await hot(both, "t")

    stored = empty_checkpoint()
    stored["channel_values"] = {"n": [5], "same": ["long", "ago"]}
    stored["channel_versions"] = {"n": "0005", "same": "0000"}
    await saver.aput(configs[-1], stored, {"source": "loop", "step": 5}, {"n": "0005"})
    assert list(reversed(range(6))) == await values(saver, "t")


async def test_a_fork_of_an_archived_checkpoint_has_its_unchanged_values(saver: DualWriteSaver) -> None:
    configs = await fill(saver, "t", 8)
    await saver.aflush()
    stored = empty_checkpoint()
    stored["channel_values"] = {"n": ["fork"], "same": ["long", "ago"]}
    stored["channel_versions"] = {"n": "0002.fork", "same": "0000"}

    await saver.aevict("t")
    fork = await saver.aput(configs[1], stored, {"source": "fork", "step": 2}, {"n": "0002.fork"})

    found = await saver.aget_tuple(fork)
    assert found is not None
    assert {"n": ["fork"], "same": ["long", "ago"]} == found.checkpoint["channel_values"]


async def test_writes_for_a_checkpoint_that_has_left_redis_join_those_in_the_archive(saver: DualWriteSaver) -> None:
    configs = await fill(saver, "t", 6)
    await saver.aput_writes(configs[0], [("__resume__", "old")], "task")
    await saver.aflush()
    await saver.aput_writes(configs[0], [("n", "too late"), ("__resume__", "new")], "task")
    await saver.aput_writes(configs[0], [("n", "other")], "task-2")
    expected = [("task", "__resume__", "new"), ("task", "n", 0), ("task-2", "n", "other")]

    for _ in range(2):  # still in Redis, then archived too
        found = await saver.aget_tuple(configs[0])
        assert found is not None
        assert expected == found.pending_writes
        await saver.aevict("t")


async def test_the_newest_of_an_evicted_thread_is_not_one_that_was_just_deleted(saver: DualWriteSaver) -> None:
    configs = await fill(saver, "t", 3)
    await saver.aevict("t")

    await saver.store.delete([key_of(configs[-1])])

    found = await saver.aget_tuple(at("t"))  # the archive has not heard of it yet
    assert found is not None
    assert [1] == found.checkpoint["channel_values"]["n"]


async def test_a_graph_travels_back_across_both_tiers(saver: DualWriteSaver) -> None:
    graph = chain("a", "b", "c", "d").compile(checkpointer=saver)
    config = at(str(uuid4()))
    await graph.ainvoke({"seen": []}, config)
    await saver.aevict(config["configurable"]["thread_id"])

    history = [snapshot async for snapshot in graph.aget_state_history(config)]
    after_b = next(snapshot for snapshot in history if snapshot.next == ("c",))
    result = await graph.ainvoke(None, await graph.aupdate_state(after_b.config, {"seen": ["edited"]}))

    assert 6 == len(history)
    assert ["a", "b", "edited", "c", "d"] == result["seen"]


async def test_what_was_written_is_there_after_reopening_and_replaying(tiers: Opened) -> None:
    async with tiers.open() as storage:
        configs = await fill(DualWriteSaver(storage.checkpoints, storage=storage), "t", 4)
    for _ in range(2):
        async with tiers.open() as storage:
            saver = DualWriteSaver(storage.checkpoints, storage=storage)
            await saver.aput_writes(configs[-1], [("n", 3)], "task")
            await saver.aflush()
            assert [3, 2, 1, 0] == await values(saver, "t")
            rows = await saver.aquery("SELECT count(), uniqExact(checkpoint_id) FROM gg_checkpoints FINAL")
            assert [(4, 4)] == [tuple(row) for row in rows.rows]


async def test_a_redis_that_lost_everything_finds_it_in_the_archive(tiers: Opened) -> None:
    async with tiers.open() as storage:
        await fill(DualWriteSaver(storage.checkpoints, storage=storage), "t", 4)
        await storage.flush()
        keys = [key async for key in storage.client.server.scan_iter(f"{tiers.options.key_prefix}:*")]
        await storage.client.server.delete(*keys)

    async with tiers.open() as storage:
        saver = DualWriteSaver(storage.checkpoints, storage=storage)
        assert [3, 2, 1, 0] == await values(saver, "t")
        found = await saver.aget_tuple(at("t"))
        assert found is not None
        assert [3] == found.checkpoint["channel_values"]["n"]
        assert await saver.aget_tuple(at("never")) is None


async def test_a_channel_that_has_not_changed_for_months_outlives_retention(tiers: Opened) -> None:
    """Rows are never removed by their age: the thread is in use, so all it refers to is."""
    async with tiers.open() as storage:
        saver = DualWriteSaver(storage.checkpoints, storage=storage)
        await fill(saver, "busy", 5)
        await fill(saver, "idle", 2)
        await fill(saver, "read", 2)
        await storage.flush()
        archive = (await storage.archive()).client
        for table in ("gg_blobs", "gg_checkpoints", "gg_writes"):  # as if 100 days had passed
            past = f"ver > {100 * 86_400_000 << 20} ? ver - {100 * 86_400_000 << 20} : ver"
            columns = [str(row[0]) for row in (await storage.query(f"DESCRIBE TABLE {table}")).rows]
            picked = ", ".join(f"({past}) AS ver" if name == "ver" else name for name in columns)
            await archive.command(f"CREATE TABLE old_{table} AS {table}")
            await archive.command(f"INSERT INTO old_{table} SELECT {picked} FROM {table}")
            await archive.command(f"EXCHANGE TABLES old_{table} AND {table}")
            await archive.command(f"DROP TABLE old_{table}")
        await fill(saver, "busy", 6)
        for thread in ("idle", "read"):
            await storage.evict(thread)
        assert await saver.aget_tuple(at("read")) is not None  # so it is in Redis again

        removed = await storage.retain(timedelta(days=90))
        await storage.evict("busy")

        assert 1 == removed
        assert [5] == [one.checkpoint["channel_values"]["n"][0] async for one in saver.alist(at("busy"), limit=1)]
        found = await saver.aget_tuple(at("busy"))
        assert found is not None
        assert ["long", "ago"] == found.checkpoint["channel_values"]["same"]
        assert [] == await values(saver, "idle")
        assert [1, 0] == await values(saver, "read")


async def test_a_thread_that_changed_while_it_was_about_to_be_removed_is_kept(
    both: DualStorage, saver: DualWriteSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(saver, "t", 2)
    await saver.aevict("t")
    archive = await both.archive()
    look = archive.idle

    async def idle(*arguments: Any, **more: Any) -> Any:
        found = await look(timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
        await fill(saver, "t", 3)
        await saver.aevict("t")
        return found

    monkeypatch.setattr(archive, "idle", idle)

    assert 0 == await both.retain(timedelta(0))
    assert [2, 1, 0, 1, 0] == await values(saver, "t")


async def test_a_deleted_thread_is_gone_from_both_tiers(both: DualStorage, saver: DualWriteSaver) -> None:
    await fill(saver, "t", 4)
    await saver.aevict("t")

    await saver.adelete_thread("t")

    assert [] == await values(saver, "t")  # the archive has not heard of it yet
    await saver.aflush()
    assert [] == [one async for one in saver.alist(None)]
    await both.erase("thread", "t")
    assert [(0,)] == [tuple(row) for row in (await saver.aquery("SELECT count() FROM gg_checkpoints")).rows]


async def test_eviction_forgets_neither_fences_nor_deletions(saver: DualWriteSaver) -> None:
    stored = empty_checkpoint()
    await saver.aput(at("fenced", **{FENCE: 5}), stored, {}, {})
    await saver.aevict("fenced")
    with pytest.raises(Fenced):
        await saver.aput(at("fenced", **{FENCE: 4}), empty_checkpoint(), {}, {})

    for thread, evicted_before in (("deleted, then evicted", False), ("evicted, then deleted", True)):
        configs = await fill(saver, thread, 2)
        if evicted_before:
            await saver.aevict(thread)
        await saver.adelete_thread(thread)
        await saver.aevict(thread)
        await saver.aput(configs[-1], empty_checkpoint(), {}, {})
        assert await saver.aget_tuple(at(thread)) is None


async def test_pruned_and_deleted_runs_are_gone_from_the_archive_too(saver: DualWriteSaver) -> None:
    configs = await fill(saver, "t", 6)
    await saver.aflush()

    await saver.aprune(["t"])
    assert [5] == await values(saver, "t")
    assert await saver.aget_tuple(configs[0]) is None
    await saver.aflush()
    assert [5] == await values(saver, "t")
    assert await saver.aget_tuple(configs[0]) is None


async def test_checkpoints_of_the_seeds_interface_are_not_listed_as_langgraphs(
    both: DualStorage, saver: DualWriteSaver
) -> None:
    await both.put_checkpoint("t", "c1", {"any": "data"})
    await fill(saver, "@named by a user", 1)

    listed = [one.config.get("configurable", {})["thread_id"] async for one in saver.alist(None, limit=1)]

    assert ["@named by a user"] == listed


async def test_corrupt_bytes_are_an_error_that_names_the_key(both: DualStorage, saver: DualWriteSaver) -> None:
    (config,) = await fill(saver, "t", 1)
    thread, space, checkpoint_id = "t", "", config["configurable"]["checkpoint_id"]
    of, redis = both.client.keys.thread, both.client.server
    broken = {
        of("c", thread, space): checkpoint_id,
        of("b", thread, space): "n\x000000",
        of("w", thread, space, checkpoint_id): "task\x000",
        of("r", thread, space): checkpoint_id,
    }
    for key, field in broken.items():
        good: Any = await redis.hget(key, field)
        assert good is not None, key
        for bad in (b"", good[: len(good) // 2], b"\xff" + good):
            await redis.hset(key, field, bad)
            with pytest.raises(CorruptRecord, match="t//"):
                await saver.aget_tuple(at("t"))
        await redis.hset(key, field, good)
    assert await saver.aget_tuple(at("t")) is not None


async def test_a_thread_cannot_be_copied_to_one_that_was_deleted_since(saver: DualWriteSaver) -> None:
    await fill(saver, "source", 2)
    await fill(saver, "target", 1)
    await saver.adelete_thread("target")
    await fill(saver, "source", 4)

    with pytest.raises(ThreadDeleted, match="copy to another thread id"):
        await saver.acopy_thread("source", "target")
    assert [] == await values(saver, "target")

    await saver.acopy_thread("source", "fresh")
    assert await values(saver, "source") == await values(saver, "fresh")


async def test_what_is_in_redis_needs_no_archive(tiers: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that does not hold the embedded archive."""

    async def held() -> Any:
        raise ArchiveUnavailable("another process has it", 7)

    async with tiers.open() as storage:
        saver = DualWriteSaver(storage.checkpoints, storage=storage)
        configs = await fill(saver, "t", 6)
        await storage.create_session("s", "user")
        await storage.flush()
        for part in (storage.checkpoints, storage.records):
            monkeypatch.setattr(part, "_reader", held)

        assert await saver.aget_tuple(at("t")) is not None
        assert [5] == [one.checkpoint["channel_values"]["n"][0] async for one in saver.alist(at("t"), limit=1)]
        assert ["s"] == [owner async for owner in storage.records.owners("session")]
        assert await saver.aget_tuple(at("never")) is None
        with pytest.raises(ArchiveUnavailable, match="process 7 holds it"):
            await saver.aget_tuple(configs[0])


class Shade(Enum):
    """Nor is this."""

    DARK = 1


@dataclass
class Secret:
    """Not among the types that may be loaded."""

    word: str
    shade: Shade = Shade.DARK


async def test_a_forbidden_type_is_named_with_the_setting_that_allows_it(both: DualStorage) -> None:
    strict = DualWriteSaver(both.checkpoints)
    trusting = DualWriteSaver(both.checkpoints, allowed_types=[Secret, Shade])
    stored = empty_checkpoint()
    stored["channel_values"], stored["channel_versions"] = {"x": Secret("word")}, {"x": "1"}
    config = await trusting.aput(at("t"), stored, {}, {"x": "1"})

    found = await trusting.aget_tuple(config)
    assert found is not None
    assert Secret("word") == found.checkpoint["channel_values"]["x"]
    with pytest.raises(ForbiddenType, match=r"t//.*/x.*Shade, .*Secret.*allowed_types"):
        await strict.aget_tuple(config)


async def test_with_a_key_nothing_of_a_value_or_its_metadata_is_stored_in_clear(tiers: Opened) -> None:
    serde = encrypted(strict_serializer(), b"0123456789abcdef")
    async with tiers.open() as storage:
        saver = DualWriteSaver(storage.checkpoints, serde=serde, storage=storage)
        stored = empty_checkpoint()
        stored["channel_values"] = {"small": "s3cret-a", "long": ["s3cret-b"]}
        stored["channel_versions"] = {"small": "1", "long": "1"}
        config: Any = {**at("t", run_id="run"), "metadata": {"mine": "s3cret-c"}}
        put = await saver.aput(config, stored, {}, {"small": "1", "long": "1"})
        await saver.aput_writes(put, [("x", "s3cret-d")], "task")
        await saver.aflush()

        kept = repr(await storage.checkpoints.get("t", ""))
        rows = [
            (await saver.aquery(f"SELECT * FROM {table}")).rows for table in ("gg_checkpoints", "gg_blobs", "gg_writes")
        ]
        assert "s3cret" not in kept + repr(rows)
        assert ["t"] == [
            one.config.get("configurable", {})["thread_id"]
            async for one in saver.alist(None, filter={"mine": "s3cret-c"})
        ]
        await saver.adelete_for_runs(["run"])
        assert [] == [one async for one in saver.alist(None)]


async def test_archiving_goes_on_while_many_threads_write(tiers: Opened) -> None:
    policy = ArchiverPolicy(keep_checkpoints=1, linger=0.0, rows=50)
    async with tiers.open(policy=policy) as storage:
        saver = DualWriteSaver(storage.checkpoints, storage=storage)
        await asyncio.gather(*(fill(saver, f"t{number}", 20) for number in range(8)))
        for number in range(8):
            assert list(reversed(range(20))) == await values(saver, f"t{number}")
        await saver.aflush()
        assert 160 == len([one async for one in saver.alist(None)])
        assert 160 == len([one async for one in saver.alist(None, limit=500)])
        assert 7 == len([one async for one in saver.alist(None, limit=7)])
