"""Several processes over one pair of stores: each record is archived once, and an embedded archive changes hands."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from storage.errors import ArchiveUnavailable
from tests.support.checkpoint_writer import Writer
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.steps import everywhere, list_steps, newest_step, open_saver, run_steps, whole

Start = Callable[..., Awaitable[Writer]]


async def test_processes_that_archive_at_once_store_each_record_once(
    redis: RedisServer, archive: str, start: Start
) -> None:
    """Three archivers; the last one takes over from two that are killed in the middle."""
    writers = await asyncio.gather(*(start(redis.url, archive, thread=f"t{number}") for number in range(2)))
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "ours", range(200))
        await asyncio.gather(*(writer.until_step(200) for writer in writers))
        counts = await asyncio.gather(*(writer.kill() for writer in writers))

        assert whole("ours", range(200)) == await everywhere(saver, "ours")
        for number, acknowledged in enumerate(counts):
            there = await everywhere(saver, f"t{number}")
            assert whole(f"t{number}", range(acknowledged)) == there[-acknowledged:]
            assert len(there) <= acknowledged + 1


async def test_the_second_process_of_an_embedded_pair_goes_on_and_takes_the_archive_over(
    start: Start, short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = short_folder / "data"
    async with open_saver(data_dir=folder) as saver:
        await run_steps(saver, "evicted", range(3))
        await everywhere(saver, "evicted")
        assert await saver.aevict("evicted")
    owner = await start(None, None, folder=folder, stop="before", thread="t")
    await owner.until("stopped")

    async with open_saver(data_dir=folder) as saver:
        await run_steps(saver, "ours", range(3))
        assert whole("ours", range(3)) == await list_steps(saver, "ours")
        with pytest.raises(ArchiveUnavailable) as refused:
            await newest_step(saver, "evicted")
        assert refused.value.owner == owner.process.pid
        with pytest.raises(ArchiveUnavailable):
            await newest_step(saver, "evicted")
        assert 1 == caplog.text.count(f"process {owner.process.pid} holds the archive")
        acknowledged = await owner.kill()

        async def taken_over() -> bool:
            return saver.storage.archiver.metrics().waiting == 0 and saver.storage.archiver.metrics().rows > 0

        await eventually(taken_over, "the archive is taken over")
        assert whole("evicted", range(3)) == await list_steps(saver, "evicted")
        assert whole("ours", range(3)) == await everywhere(saver, "ours")
        there = await everywhere(saver, "t")
        assert whole("t", range(acknowledged)) == there[-acknowledged:]
