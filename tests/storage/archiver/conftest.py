"""A client with keys of its own, and an archive to watch."""

import itertools
from collections.abc import AsyncIterator

import pytest

from storage.redis.client import RedisClient
from storage.redis.keys import Keys
from tests.support.recording_archive import RecordingArchive

numbers = itertools.count()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    client = await RedisClient.open(redis_url, keys=Keys(f"archiver{next(numbers)}"), cold=False)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def archive() -> RecordingArchive:
    return RecordingArchive()
