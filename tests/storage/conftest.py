"""A Redis for the tests of one module, started when the first of them asks for it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisCluster3, RedisServer


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """One server for the module. A test that kills or reconfigures its server starts its own `RedisServer`."""
    folder = Path(tempfile.mkdtemp(prefix="gg-"))  # pytest's own folders are too deep for a socket's path
    try:
        with RedisServer(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Of the module's server, which is not emptied: a test takes keys of its own, by a prefix that is new."""
    return redis_server.url


@pytest.fixture(scope="module")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster3]:
    """One cluster of three nodes for the module."""
    with RedisCluster3(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
