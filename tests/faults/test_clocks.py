"""The clock of Redis is set back: what comes later still counts as later."""

import time
from pathlib import Path

from checkpointer import DualWriteSaver
from storage.redis.keys import Keys
from tests.support.redis_server import RedisServer
from tests.support.steps import at, everywhere, list_steps, newest_step, open_saver, run_steps, step, whole

AHEAD = 3600_000
"""Milliseconds by which the clock was ahead before it was set back."""


def set_clock_back(redis: RedisServer, thread: str) -> None:
    """Let the last entry be of a time that is still to come: to Redis it is the same as a clock that went back."""
    keys = Keys()
    outbox = keys.partition(keys.partition_of(thread), "out")
    with redis.client() as client:
        ahead = f"{int(time.time() * 1000) + AHEAD}-5"
        client.xadd(outbox, {"k": "x", "t": "another thread", "n": "", "i": "0"}, id=ahead)


async def versions(saver: DualWriteSaver, thread: str) -> list[int]:
    """Of the rows in the archive, in the order of the steps."""
    rows = await saver.aquery(
        "SELECT ver FROM gg_checkpoints FINAL WHERE thread_id = {thread:String} ORDER BY checkpoint_id",
        {"thread": thread},
    )
    return [int(str(ver)) for (ver,) in rows.rows]


async def test_versions_do_not_go_back_with_the_clock(redis: RedisServer, archive: str) -> None:
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(3))
        set_clock_back(redis, "t")
        await run_steps(saver, "t", range(3, 6), root=0)
        before = await versions(saver, "t")
        redis.kill()
        redis.start()  # which remembers the last id of a stream that is empty by now
        await run_steps(saver, "t", range(6, 9), root=0)

        after = await versions(saver, "t")
        assert sorted(after) == after
        assert before == after[:6]
        assert len(set(after)) == 9
        assert whole("t", range(9)) == await everywhere(saver, "t")


async def test_a_deletion_wins_over_older_rows_and_loses_to_newer_ones(redis: RedisServer, archive: str) -> None:
    async with open_saver(redis.url, archive) as saver:
        set_clock_back(redis, "t")
        await run_steps(saver, "t", range(3))
        await saver.aflush()
        await saver.adelete_thread("t")
        assert [] == await list_steps(saver, "t")
        await run_steps(saver, "t", range(3, 6))
        assert whole("t", range(3, 6)) == await everywhere(saver, "t")
        await saver.adelete_thread("t")

        assert [] == await everywhere(saver, "t")
        assert None is await newest_step(saver, "t")


async def test_a_new_redis_whose_clock_is_behind_the_archive_hides_nothing(tmp_path: Path, archive: str) -> None:
    """The old one was lost with its clock an hour ahead: its last deletion is of a time that is still to come."""
    with RedisServer(tmp_path / "old", tcp=True) as old:
        async with open_saver(old.url, archive) as saver:
            set_clock_back(old, "t")
            await run_steps(saver, "t", range(3))
            await saver.adelete_thread("t")
            await saver.aflush()

    with RedisServer(tmp_path / "new", tcp=True) as new:
        async with open_saver(new.url, archive) as saver:
            assert await saver.aget_tuple(at("t")) is None
            await run_steps(saver, "t", range(3, 6))
            assert step("t", 5, root=3, written=True) == await newest_step(saver, "t")

            assert whole("t", range(3, 6)) == await everywhere(saver, "t")
