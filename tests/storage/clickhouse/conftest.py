"""An archive in this process, and one on a server, for the tests of one module."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.clickhouse import ClickHouseArchive
from tests.support.clickhouse_http import ClickHouseHttp


@pytest.fixture(scope="session")
def chdb_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine takes one path in a process, so each test takes names of its own there."""
    return tmp_path_factory.mktemp("chdb") / "archive"


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseHttp]:
    with ClickHouseHttp(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture(params=["in process", "over http"])
async def archive(
    request: pytest.FixtureRequest, clickhouse: ClickHouseHttp, chdb_path: Path
) -> AsyncIterator[ClickHouseArchive]:
    """An archive whose owners other tests have put there too; see `owner`."""
    in_process = request.param == "in process"
    made = ClickHouseArchive.in_process(chdb_path) if in_process else ClickHouseArchive.on_server(clickhouse.url())
    async with made:
        yield made


@pytest.fixture
async def empty(clickhouse: ClickHouseHttp) -> AsyncIterator[ClickHouseArchive]:
    """An archive of its own, in a new database."""
    async with ClickHouseArchive.on_server(clickhouse.url(f"d{uuid4().hex}")) as made:
        yield made


@pytest.fixture
def owner() -> str:
    """A new name with characters that SQL, URLs and C strings take for something else."""
    return f"o{uuid4().hex}\0'\"`\\{{x:String}}%s\n\té😀"
