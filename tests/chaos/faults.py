"""What a campaign does to the servers, the network and the workers."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from tests.chaos.workers import Worker
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.cutting_proxy import CuttingProxy
from tests.support.redis_server import RedisServer

CUT_AFTER = 400_000
"""Bytes, at most, after which a front cuts a connection."""


class Stores:
    """A Redis and a ClickHouse of the campaign's own, each also behind a front that cuts connections."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.redis = RedisServer(folder / "redis", tcp=True)
        self.clickhouse = ClickHouseHttp(folder / "clickhouse")
        self.redis_front: CuttingProxy
        self.clickhouse_front: CuttingProxy
        self._seed = seed

    async def start(self) -> None:
        await asyncio.gather(asyncio.to_thread(self.redis.start), asyncio.to_thread(self.clickhouse.start))
        self.redis_front = await CuttingProxy(self.redis.url, seed=self._seed, most=CUT_AFTER).__aenter__()
        self.clickhouse_front = await CuttingProxy(
            self.clickhouse.url("chaos"), seed=self._seed + 1, most=CUT_AFTER
        ).__aenter__()

    async def stop(self) -> None:
        for front in (self.redis_front, self.clickhouse_front):
            await front.__aexit__(None, None, None)
        await asyncio.to_thread(self.clickhouse.kill)
        await asyncio.to_thread(self.redis.stop)

    @property
    def cuts(self) -> int:
        return self.redis_front.cuts + self.clickhouse_front.cuts

    async def heal(self) -> None:
        """No more cuts, and an archive that answers."""
        self.redis_front.most = self.clickhouse_front.most = 0
        await asyncio.to_thread(self.clickhouse.resume)


class Faults:
    """Lets one thing go wrong after the other; each is over before the next one begins.

    Args:
        stores: Of the campaign.
        workers: Of the campaign.
        chance: Decides what, and when.
    """

    def __init__(self, stores: Stores, workers: list[Worker], chance: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._stores = stores
        self._workers = workers
        self._chance = chance

    async def run(self, ended: asyncio.Event) -> None:
        """Go on until the campaign has ended."""
        kinds = {
            "worker": (self._kill_worker, 4),
            "redis": (self._kill_redis, 3),
            "cut": (self._cut, 3),
            "clickhouse": (self._kill_clickhouse, 1),
            "silence of clickhouse": (self._pause_clickhouse, 2),
            "slow inserts": (self._slow_clickhouse, 1),
        }
        while not ended.is_set():
            await pause(ended, self._chance.uniform(0.05, 0.8))
            if ended.is_set():
                return
            kind = self._chance.choices(list(kinds), [weight for _, weight in kinds.values()])[0]
            await kinds[kind][0](ended)
            self.done[kind] += 1

    async def _kill_worker(self, _: asyncio.Event) -> None:
        for worker in self._chance.sample(self._workers, self._chance.choice([1, 1, 2])):
            worker.kill()

    async def _kill_redis(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._stores.redis.kill)
        await pause(ended, self._chance.choice([0.0, 0.2, 1.5]))
        await asyncio.to_thread(self._stores.redis.start)

    async def _cut(self, _: asyncio.Event) -> None:
        self._stores.redis_front.cut()
        self._stores.clickhouse_front.cut()

    async def _kill_clickhouse(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._stores.clickhouse.kill)
        await pause(ended, self._chance.choice([0.0, 1.0]))
        await asyncio.to_thread(self._stores.clickhouse.start)

    async def _pause_clickhouse(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._stores.clickhouse.pause)
        await pause(ended, self._chance.uniform(0.2, 2.0))
        await asyncio.to_thread(self._stores.clickhouse.resume)

    async def _slow_clickhouse(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._stores.clickhouse.slow_inserts, 0.3)
        await pause(ended, 1.0)
        await asyncio.to_thread(self._stores.clickhouse.slow_inserts, 0.0)


async def pause(ended: asyncio.Event, seconds: float) -> None:
    """Wait, but not when the campaign ends."""
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        pass
