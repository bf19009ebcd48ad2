"""A network between us and the servers that cuts connections, or lets them stand without an answer."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from storage.errors import StorageUnavailable
from tests.support.cutting_proxy import CuttingProxy
from tests.support.redis_server import RedisServer
from tests.support.steps import everywhere, newest_step, open_saver, put_step, run_steps, step, whole, write_step

T = TypeVar("T")
TIMEOUT = "?socket_timeout=0.2&socket_connect_timeout=0.2"


async def test_a_network_that_cuts_connections_loses_and_doubles_nothing(redis: RedisServer, archive: str) -> None:
    """Calls that are cut off are repeated; one that has no luck four times in a row says so, and is asked again."""
    async with CuttingProxy(redis.url, seed=random.randrange(2**32)) as proxy, open_saver(proxy.url, archive) as saver:
        proxy.most = 20_000  # what the archiver asks at once has half of that
        proxy.cut()
        for number in range(100):
            parent = number - 1 if number else None
            await insist(lambda n=number, before=parent: put_step(saver, "t", n, parent=before, root=0))
            await insist(lambda n=number: write_step(saver, "t", n))
            newest = await insist(lambda: newest_step(saver, "t"))
            assert step("t", number, root=0, written=True) == newest
        assert proxy.cuts >= 3
        proxy.most = 0
        proxy.cut()

        assert whole("t", range(100)) == await everywhere(saver, "t")


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until it is answered."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call()
            except StorageUnavailable:
                pass


async def test_the_way_to_the_archive_is_cut_too(redis: RedisServer, archive: str) -> None:
    async with CuttingProxy(archive, seed=random.randrange(2**32)) as proxy, open_saver(redis.url, proxy.url) as saver:
        proxy.most = 40_000
        for start in range(0, 100, 20):
            await run_steps(saver, "t", range(start, start + 20), root=0)
            proxy.cut()
        proxy.most = 0

        assert whole("t", range(100)) == await everywhere(saver, "t")
        assert proxy.cuts > 0


async def test_a_server_that_goes_silent_is_unavailable_within_the_timeouts(redis: RedisServer, archive: str) -> None:
    """Four tries of 0.2 s each to be answered, and 1 s between them."""
    async with CuttingProxy(redis.url) as proxy, open_saver(proxy.url + TIMEOUT, archive) as saver:
        await run_steps(saver, "t", range(2))
        proxy.silent.set()
        start = time.monotonic()
        for call in (put_step(saver, "t", 2, parent=1, root=0), newest_step(saver, "t")):
            with pytest.raises(StorageUnavailable, match="does not answer"):
                async with asyncio.timeout(20):
                    await call
        assert time.monotonic() - start < 10
        proxy.silent.clear()
        proxy.cut()

        await put_step(saver, "t", 2, parent=1, root=0)
        await write_step(saver, "t", 2)
        assert whole("t", range(3)) == await everywhere(saver, "t")


async def test_a_server_that_is_silent_from_the_start_is_unavailable(redis: RedisServer, archive: str) -> None:
    async with CuttingProxy(redis.url) as proxy:
        proxy.silent.set()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            async with asyncio.timeout(20), open_saver(proxy.url + TIMEOUT, archive):
                pass
