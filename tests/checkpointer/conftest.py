"""A saver over each kind of store."""

from collections.abc import AsyncIterator

import pytest

from checkpointer import DualWriteSaver
from tests.storage.conftest import redis_server, redis_url
from tests.support.open_savers import SAVERS, Places

__all__ = ["redis_server", "redis_url"]


@pytest.fixture
def places(redis_url: str) -> Places:
    """The servers of this module."""
    return Places(redis=redis_url)


@pytest.fixture(params=list(SAVERS))
async def saver(request: pytest.FixtureRequest, places: Places) -> AsyncIterator[DualWriteSaver]:
    """A saver with nothing in it."""
    async with SAVERS[request.param](places) as opened:
        yield opened
