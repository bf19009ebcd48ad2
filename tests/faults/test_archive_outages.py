"""ClickHouse is down, slow or unreachable: writers do not notice, and everything arrives once it is back."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.errors import ArchiveUnavailable
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.steps import everywhere, list_steps, name_of, newest_step, open_saver, run_steps, step, whole

STEPS = 5_000
"""Of two writes each: a checkpoint and what a task has put out."""
THREADS = 50


@pytest.fixture
def own_clickhouse(tmp_path: Path) -> Iterator[ClickHouseHttp]:
    """A server that may be killed."""
    with ClickHouseHttp(tmp_path / "clickhouse") as server:
        yield server


async def test_an_archive_that_is_down_at_the_start_gets_everything_later(
    redis: RedisServer, own_clickhouse: ClickHouseHttp, caplog: pytest.LogCaptureFixture
) -> None:
    archive = own_clickhouse.url()
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "evicted", range(3))
        await everywhere(saver, "evicted")
        assert await saver.aevict("evicted")
    own_clickhouse.kill()

    with caplog.at_level(logging.WARNING):
        async with open_saver(redis.url, archive) as saver:
            assert "does not answer" in caplog.text
            await run_steps(saver, "t", range(5))
            assert whole("t", range(5)) == await list_steps(saver, "t")
            assert await newest_step(saver, "never written") is None  # this Redis knows what the archive has
            with pytest.raises(ArchiveUnavailable):
                await newest_step(saver, "evicted")
            with pytest.raises(ArchiveUnavailable):
                await saver.aflush(0.5)
            own_clickhouse.start()

            assert whole("t", range(5)) == await everywhere(saver, "t")
            assert whole("evicted", range(3)) == await list_steps(saver, "evicted")


async def test_a_fresh_redis_takes_nothing_for_absent_that_the_archive_may_have(redis: RedisServer) -> None:
    """Its archive has never answered, and may be years old."""
    nobody = "clickhouse://127.0.0.1:9/db"
    async with open_saver(redis.url, nobody) as saver:
        for read in (newest_step, list_steps):
            with pytest.raises(ArchiveUnavailable):
                await read(saver, "unknown")
        await run_steps(saver, "t", range(3))

        assert step("t", 2, root=0, written=True) == await newest_step(saver, "t")
        with pytest.raises(ArchiveUnavailable):  # older ones may be there
            await list_steps(saver, "t")


async def test_ten_thousand_writes_wait_for_the_archive_and_arrive_once(
    redis: RedisServer, clickhouse: ClickHouseHttp, archive: str
) -> None:
    async with open_saver(redis.url, archive) as saver:
        await saver.aflush()
        clickhouse.pause()
        threads = [f"t{number}" for number in range(THREADS)]
        await asyncio.gather(*(run_steps(saver, thread, range(STEPS // THREADS)) for thread in threads))

        async def noticed() -> bool:
            metrics = saver.storage.archiver.metrics()
            return metrics.waiting == 2 * STEPS and metrics.error is not None

        await eventually(noticed, "the metrics tell of it")
        clickhouse.resume()
        await saver.aflush()

        for thread in threads[::10]:
            assert whole(thread, range(STEPS // THREADS)) == await everywhere(saver, thread)
        for table in ("gg_checkpoints", "gg_writes"):
            rows = await saver.aquery(
                "SELECT thread_id, arrayMap(one -> one.1, arraySort(one -> one.2, groupArray((checkpoint_id, ver))))"
                f" FROM {table} FINAL GROUP BY thread_id"
            )
            inorder = [name_of(number) for number in range(STEPS // THREADS)]
            assert dict.fromkeys(threads, inorder) == {str(thread): list(ids) for thread, ids in rows.rows}  # pyright: ignore[reportArgumentType]  # an array


async def test_a_slow_archive_does_not_slow_writers(
    redis: RedisServer, clickhouse: ClickHouseHttp, archive: str
) -> None:
    async with open_saver(redis.url, archive) as saver:
        await run_steps(saver, "warm", range(200))
        seconds = {}
        for slowness in (0.0, 0.3):
            await saver.aflush()
            clickhouse.slow_inserts(slowness)
            thread, batches = uuid4().hex, saver.storage.archiver.metrics().batches
            start = time.perf_counter()
            await run_steps(saver, thread, range(300))
            seconds[slowness] = time.perf_counter() - start
            assert saver.storage.archiver.metrics().batches - batches < seconds[slowness] / max(slowness, 0.001) + 1
        clickhouse.slow_inserts(0)

        assert seconds[0.3] < 2 * seconds[0.0] + 0.3  # while each insert of these takes 0.3 s
        assert whole(thread, range(300)) == await everywhere(saver, thread)
