"""Servers that a test may kill."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.checkpoint_writer import Writer, start_writer
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.redis_server import RedisServer


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Pytest's own folders are too deep for a socket's path."""
    folder = Path(tempfile.mkdtemp(prefix="gg-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def redis(short_folder: Path) -> Iterator[RedisServer]:
    """A server of the test's own, over TCP, with an AOF."""
    with RedisServer(short_folder / "redis", tcp=True) as server:
        yield server


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    """One for all, because it takes a second to start. A test that kills it starts its own."""
    with ClickHouseHttp(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def archive(clickhouse: ClickHouseHttp) -> Iterator[str]:
    """Its URL, with a database of the test's own."""
    yield clickhouse.url(f"d{uuid4().hex}")
    clickhouse.release_inserts()
    clickhouse.slow_inserts(0)
    clickhouse.resume()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Start a writing process; it is killed at the end if it is still there."""
    async with AsyncExitStack() as ending:

        async def begin(redis: str | None, archive: str | None, *, folder: Path | None = None, **more: Any) -> Writer:
            writer = await start_writer(redis, archive, folder or tmp_path / "data", **more)
            ending.push_async_callback(writer.kill)
            return writer

        yield begin
