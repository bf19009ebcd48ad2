"""What a campaign over runs does to its workers, to the servers and to the queue."""

import asyncio
import os
import random
import signal
from collections import Counter

from redis import Redis
from redis.exceptions import RedisError

from goalgraph.workers import next_database
from tests.chaos.faults import pause
from tests.chaos.workers import Worker
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.redis_server import RedisServer


class RunFaults:
    """Lets one thing go wrong after the other; each is over before the next one begins.

    Args:
        redis: Of the campaign.
        clickhouse: Of the campaign.
        workers: Of the campaign.
        lease: Seconds; what is frozen for longer has lost its runs.
        chance: Decides what, and when.
        most_between: Seconds between two faults, at most.
    """

    def __init__(
        self,
        redis: RedisServer,
        clickhouse: ClickHouseHttp,
        workers: list[Worker],
        lease: float,
        chance: random.Random,
        most_between: float,
    ) -> None:
        self.done: Counter[str] = Counter()
        self._redis = redis
        self._clickhouse = clickhouse
        self._workers = workers
        self._lease = lease
        self._chance = chance
        self._most_between = most_between

    async def run(self, ended: asyncio.Event) -> None:
        """Go on until the campaign has ended; each kind comes once before any comes again."""
        kinds = {
            "worker killed": self._kill,
            "worker frozen": self._freeze,
            "worker told to end": self._end,
            "redis restarted": self._restart_redis,
            "redis killed": self._kill_redis,
            "redis frozen": self._freeze_redis,
            "queue flushed": self._flush_queue,
            "archive cut off": self._cut_archive,
            "archive killed": self._kill_archive,
        }
        turn: list[str] = []
        while not ended.is_set():
            await pause(ended, self._chance.uniform(0.1, self._most_between))
            if ended.is_set():
                return
            turn = turn or self._chance.sample(list(kinds), len(kinds))
            kind = turn.pop()
            await kinds[kind](ended)
            self.done[kind] += 1

    def _some(self) -> list[Worker]:
        return self._chance.sample(self._workers, self._chance.choice([1, 1, 2]))

    async def _kill(self, _: asyncio.Event) -> None:
        for worker in self._some():
            worker.kill()

    async def _freeze(self, ended: asyncio.Event) -> None:
        some = self._some()
        for worker in some:
            worker.freeze()
        await pause(ended, self._lease * self._chance.uniform(1.5, 2.5))
        for worker in some:
            worker.thaw()

    async def _end(self, _: asyncio.Event) -> None:
        for worker in self._some():
            worker.end()

    async def _restart_redis(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._redis.stop)
        await self._start_redis(ended)

    async def _kill_redis(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._redis.kill)
        await self._start_redis(ended)

    async def _start_redis(self, ended: asyncio.Event) -> None:
        await pause(ended, self._lease * self._chance.choice([0.0, 0.3, 1.5]))
        await asyncio.to_thread(self._redis.start)

    async def _freeze_redis(self, ended: asyncio.Event) -> None:
        os.kill(self._redis.pid, signal.SIGSTOP)
        await pause(ended, self._lease * self._chance.choice([0.4, 1.5, 2.5]))
        os.kill(self._redis.pid, signal.SIGCONT)

    async def _flush_queue(self, _: asyncio.Event) -> None:
        try:
            with Redis.from_url(next_database(self._redis.url)) as queue:
                await asyncio.to_thread(queue.flushdb)
        except RedisError:
            return

    async def _cut_archive(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._clickhouse.pause)
        await pause(ended, self._chance.uniform(0.3, 3.0))
        await asyncio.to_thread(self._clickhouse.resume)

    async def _kill_archive(self, ended: asyncio.Event) -> None:
        await asyncio.to_thread(self._clickhouse.kill)
        await pause(ended, self._chance.choice([0.0, 1.0]))
        await asyncio.to_thread(self._clickhouse.start)
