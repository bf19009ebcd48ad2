"""A read meets an eviction, a deletion or another writer half way: it is right, or it is an error."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from checkpointer import DualWriteSaver
from storage.dual.checkpoints import TieredCheckpoints
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.redis_server import RedisServer
from tests.support.steps import (
    at,
    everywhere,
    list_steps,
    newest_step,
    open_saver,
    put_step,
    run_steps,
    step,
    whole,
    write_step,
)

Meanwhile = Callable[[], Awaitable[object]]


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, saver: DualWriteSaver, call: str, do: Meanwhile, *, after: bool = False
) -> None:
    """Let something happen once, before or after the next `call` of the hot tier."""
    tiers = saver.store
    assert isinstance(tiers, TieredCheckpoints)
    original: Callable[..., Awaitable[Any]] = getattr(tiers.hot, call)

    async def interrupted(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(tiers.hot, call, original)
        if not after:
            await do()
        answer = await original(*args, **named)
        if after:
            await do()
        return answer

    monkeypatch.setattr(tiers.hot, call, interrupted)


async def test_a_thread_that_is_evicted_while_it_is_listed_is_listed_whole(
    redis: RedisServer, archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(6))
        meanwhile(monkeypatch, saver, "ids", lambda: saver.aevict("t"), after=True)

        assert whole("t", range(6)) == await list_steps(saver, "t")


async def test_checkpoints_that_are_trimmed_while_they_are_listed_are_listed(
    redis: RedisServer, archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_saver(redis.url, archive) as saver:
        await saver.aflush()
        await run_steps(saver, "t", range(20))
        meanwhile(monkeypatch, saver, "ids", saver.aflush, after=True)

        assert whole("t", range(20)) == await list_steps(saver, "t")


async def test_what_comes_back_from_the_archive_does_not_stand_before_what_is_newer(
    redis: RedisServer, archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading the archive and taking the checkpoint back, the thread goes on and is evicted again."""
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(3))
        await saver.aevict("t")

        async def go_on() -> None:
            await run_steps(saver, "t", [3], root=0)
            assert await saver.aevict("t")

        meanwhile(monkeypatch, saver, "restore", go_on)
        assert await newest_step(saver, "t") in {step("t", n, root=0, written=True) for n in (2, 3)}

        assert step("t", 3, root=0, written=True) == await newest_step(saver, "t")
        assert whole("t", range(4)) == await everywhere(saver, "t")


async def test_what_comes_back_from_the_archive_does_not_bring_a_deleted_thread_back(
    redis: RedisServer, archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(3))
        await saver.aevict("t")
        meanwhile(monkeypatch, saver, "restore", lambda: saver.adelete_thread("t"))
        await newest_step(saver, "t")

        assert None is await newest_step(saver, "t")
        assert [] == await everywhere(saver, "t")


async def test_an_evicted_thread_that_is_deleted_takes_a_new_chain(redis: RedisServer, archive: str) -> None:
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(3))
        await saver.aevict("t")
        await saver.adelete_thread("t")
        assert [] == await list_steps(saver, "t")
        await run_steps(saver, "t", range(4, 6))

        assert whole("t", range(4, 6)) == await everywhere(saver, "t")


async def test_writes_that_come_after_their_checkpoint_was_evicted_are_read_with_it(
    redis: RedisServer, clickhouse: ClickHouseHttp, archive: str
) -> None:
    """Of two regular ones the first stays, also when it is in the archive and the second is not."""
    async with open_saver(redis.url, archive) as saver:
        await put_step(saver, "t", 0, parent=None, root=0)
        await saver.aput_writes(at("t", 0), [("out", "first")], "another task")
        await saver.aevict("t")
        clickhouse.hold_inserts()  # what is written from now on is in Redis only
        await write_step(saver, "t", 0)
        await saver.aput_writes(at("t", 0), [("out", "second")], "another task")
        wanted = [replace(step("t", 0, root=0, written=True), writes=("first", "t out 0"))]

        assert wanted == await list_steps(saver, "t")
        assert wanted == [await newest_step(saver, "t")]
        assert wanted == [await newest_step(saver, "t")], "after it has come back"
        assert wanted == await list_steps(saver, "t")
        clickhouse.release_inserts()
        assert wanted == await everywhere(saver, "t")
