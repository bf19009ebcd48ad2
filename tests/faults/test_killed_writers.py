"""`kill -9` of the application at each instant between the write and the acknowledgement of its archiving."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.checkpoint_writer import Writer
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.redis_server import RedisServer
from tests.support.steps import everywhere, list_steps, open_saver, put_step, whole, write_step

Start = Callable[..., Awaitable[Writer]]


async def check_and_go_on(redis: str | None, archive: str | None, folder: Path, acknowledged: int) -> None:
    """What was acknowledged is there, once; what was under way is there or not; and the thread goes on."""
    async with open_saver(redis, archive, data_dir=folder) as saver:
        there = await list_steps(saver, "t")
        count = len(there)
        if count == acknowledged + 1:  # the step that was under way, with or without its write
            await write_step(saver, "t", acknowledged)
            there = await list_steps(saver, "t")
        assert acknowledged <= count <= acknowledged + 1
        assert whole("t", range(count)) == there

        await put_step(saver, "t", count, parent=count - 1, root=0)
        await write_step(saver, "t", count)
        assert whole("t", range(count + 1)) == await everywhere(saver, "t")


@pytest.mark.parametrize("stop", ["before", "within", "after"])
async def test_a_writer_is_killed_around_an_insert_into_a_server(
    stop: str, redis: RedisServer, archive: str, start: Start, tmp_path: Path
) -> None:
    writer = await start(redis.url, archive, stop=stop)
    await writer.until("stopped")
    await writer.until_step(writer.acknowledged + 5)  # writing goes on meanwhile
    acknowledged = await writer.kill()

    await check_and_go_on(redis.url, archive, tmp_path / "data", acknowledged)


async def test_a_writer_is_killed_within_an_insert_into_the_embedded_archive(start: Start, short_folder: Path) -> None:
    writer = await start(None, None, stop="within", folder=short_folder / "data")
    await writer.until("stopped")
    acknowledged = await writer.kill()

    await check_and_go_on(None, None, short_folder / "data", acknowledged)


async def test_a_writer_is_killed_while_the_server_is_at_its_insert(
    redis: RedisServer, clickhouse: ClickHouseHttp, archive: str, start: Start, tmp_path: Path
) -> None:
    """The server goes on with what the dead have sent, when others have sent the same already."""
    async with open_saver(redis.url, archive):  # the tables are there
        pass
    clickhouse.hold_inserts()
    writer = await start(redis.url, archive, most=200)
    await writer.until("enough")
    clickhouse.await_insert()
    acknowledged = await writer.kill()
    clickhouse.release_inserts()

    await check_and_go_on(redis.url, archive, tmp_path / "data", acknowledged)


async def test_writers_are_killed_again_and_again(
    redis: RedisServer, archive: str, start: Start, tmp_path: Path
) -> None:
    """Each has a thread of its own and archives for all, so each takes over what the one before had in hand."""
    counts = []
    for number in range(3):
        writer = await start(redis.url, archive, thread=f"t{number}")
        await writer.until_step(20 * (number + 1))
        counts.append(await writer.kill())

    async with open_saver(redis.url, archive) as saver:
        for number, acknowledged in enumerate(counts):
            there = await everywhere(saver, f"t{number}")
            assert whole(f"t{number}", range(acknowledged)) == there[-acknowledged:]
            assert len(there) <= acknowledged + 1
