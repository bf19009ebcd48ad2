"""Redis is killed, away or out of disk: what it acknowledged is there afterwards, and no call hangs."""

import asyncio
import resource
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from checkpointer import DualWriteSaver
from storage.embedded import DataDirectory
from storage.embedded.server import ask
from storage.errors import StorageUnavailable
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.steps import everywhere, newest_step, open_saver, put_step, run_steps, whole, write_step

T = TypeVar("T")
CALL_SECONDS = 15.0
"""A call during an outage takes about 1 s: the repetitions that a restart needs."""


async def bounded(call: Awaitable[T]) -> T:
    """A call of which an outage must not make more than this."""
    async with asyncio.timeout(CALL_SECONDS):
        return await call


class Writing:
    """Writes steps, each until it is acknowledged, and counts the calls that were refused meanwhile."""

    def __init__(self, saver: DualWriteSaver, thread: str = "t") -> None:
        self.saver = saver
        self.thread = thread
        self.acknowledged = 0
        self.refused = 0
        self.enough = False

    async def run(self) -> None:
        while not self.enough:
            number = self.acknowledged
            await self._until_done(put_step, number, parent=number - 1 if number else None, root=0)
            await self._until_done(write_step, number)
            self.acknowledged += 1

    async def _until_done(self, call, *args, **named) -> None:
        while True:
            try:
                return await bounded(call(self.saver, self.thread, *args, **named))
            except StorageUnavailable:
                self.refused += 1

    async def until(self, number: int) -> None:
        async def reached() -> bool:
            return self.acknowledged >= number

        await eventually(reached, f"{number} steps are acknowledged")


async def test_a_server_is_killed_and_comes_back_with_all_that_it_acknowledged(
    redis: RedisServer, archive: str
) -> None:
    async with open_saver(redis.url, archive) as saver, asyncio.TaskGroup() as tasks:
        writing = Writing(saver)
        task = tasks.create_task(writing.run())
        for _ in range(3):
            await writing.until(writing.acknowledged + 20)
            redis.kill()
            redis.start()
        await writing.until(writing.acknowledged + 20)
        writing.enough = True
        await task

        assert whole("t", range(writing.acknowledged)) == await everywhere(saver, "t")


async def test_during_an_outage_calls_raise_soon_and_the_same_saver_works_afterwards(
    redis: RedisServer, archive: str
) -> None:
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(3))
        redis.kill()
        for call in (
            put_step(saver, "t", 3, parent=2, root=0),
            write_step(saver, "t", 3),
            newest_step(saver, "t"),
            saver.adelete_thread("t"),
        ):
            with pytest.raises(StorageUnavailable, match="does not answer"):
                await bounded(call)
        with pytest.raises(StorageUnavailable):
            await bounded(saver.aflush(1.0))
        redis.start()

        await put_step(saver, "t", 3, parent=2, root=0)
        await write_step(saver, "t", 3)
        assert whole("t", range(4)) == await everywhere(saver, "t")


async def test_a_server_that_is_down_at_the_start_is_said_to_be(redis: RedisServer, archive: str) -> None:
    redis.kill()

    with pytest.raises(StorageUnavailable, match=f"127.0.0.1:{redis.port}.* does not answer"):
        async with asyncio.timeout(CALL_SECONDS), open_saver(redis.url, archive):
            pass


async def test_the_embedded_server_is_killed_and_brought_back(short_folder: Path, archive: str) -> None:
    async with (
        open_saver(None, archive, data_dir=short_folder / "data") as saver,
        asyncio.TaskGroup() as tasks,
    ):
        writing = Writing(saver)
        task = tasks.create_task(writing.run())
        for _ in range(2):
            await writing.until(writing.acknowledged + 20)
            before = await eventually(lambda: pid_of(short_folder / "data"), "the server answers")
            psutil.Process(before).kill()
            await writing.until(writing.acknowledged + 2)
            assert before != await pid_of(short_folder / "data")
        writing.enough = True
        await task

        assert whole("t", range(writing.acknowledged)) == await everywhere(saver, "t")


async def pid_of(folder: Path) -> int:
    """Of the embedded server; 0 while none answers."""
    info = await asyncio.to_thread(ask, DataDirectory(folder).socket(), "INFO server")
    return int(info.partition("process_id:")[2].split()[0]) if isinstance(info, str) and "process_id" in info else 0


@pytest.mark.parametrize("fsync", ["everysec", "always"])
async def test_a_full_disk_refuses_writes_and_loses_none(fsync: str, redis: RedisServer, archive: str) -> None:
    """With `everysec` the server says no until there is room again; with `always` it ends."""
    redis.stop()
    redis.options["appendfsync"] = fsync
    redis.start()
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "t", range(5))
        limit_disk(redis, of_more=20_000)
        stored = 5

        async def fill() -> None:
            nonlocal stored
            for number in range(5, 500):
                await bounded(put_step(saver, "t", number, parent=number - 1, root=0))
                await bounded(write_step(saver, "t", number))
                stored = number + 1

        with pytest.raises(StorageUnavailable, match="to its disk" if fsync == "everysec" else "does not answer"):
            await fill()
        assert stored > 5
        if fsync == "everysec":
            newest = await newest_step(saver, "t")  # reading goes on
            assert newest is not None
            assert stored - 1 <= newest.number <= stored
            limit_disk(redis, of_more=None)
            await eventually(lambda: takes_writes(saver, stored), "the server takes writes again")
        redis.kill()
        redis.start()
        assert await takes_writes(saver, stored)

        assert whole("t", range(stored + 1)) == await everywhere(saver, "t")


async def takes_writes(saver: DualWriteSaver, number: int) -> bool:
    try:
        await put_step(saver, "t", number, parent=number - 1, root=0)
        await write_step(saver, "t", number)
    except StorageUnavailable:
        return False
    return True


def limit_disk(server: RedisServer, *, of_more: int | None) -> None:
    """Let files of the server grow by so many bytes, or without a limit.

    To the server it is as a full disk, and needs neither root nor a mount: a write to the AOF comes out short.
    """
    size = max(file.stat().st_size for file in server.folder.rglob("*.aof"))
    most = resource.RLIM_INFINITY if of_more is None else size + of_more
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
