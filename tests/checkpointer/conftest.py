"""A saver over each kind of store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from checkpointer import DualWriteSaver
from tests.storage.conftest import redis_cluster, redis_server, redis_url
from tests.support.open_savers import SAVERS, Places

__all__ = ["redis_cluster", "redis_server", "redis_url"]


@pytest.fixture(scope="module")
def embedded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the module: the engine takes one path a process at a time, and opening it anew takes a while."""
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture
def places(redis_url: str, embedded_folder: Path) -> Places:
    """The servers of this module."""
    return Places(redis=redis_url, folder=embedded_folder)


@pytest.fixture(params=list(SAVERS))
async def saver(request: pytest.FixtureRequest, places: Places) -> AsyncIterator[DualWriteSaver]:
    """A saver with nothing in it."""
    async with SAVERS[request.param](places) as opened:
        yield opened
