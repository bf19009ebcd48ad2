"""Every implementation of the stores of runs, by name, with what a test does to a run behind its back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from storage.dual import DualStorage
from storage.dual.records import TieredRecords
from storage.dual.runs import TieredRuns
from storage.memory import MemoryCheckpoints, MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.protocols import CheckpointStore, RecordStore
from storage.records import Change, Entry, Value
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import Argument, RedisClient, Script
from storage.redis.eviction import evict_record
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords
from storage.redis.runs import RedisRuns
from storage.runs import Claim, Granted, Refused, Update
from tests.support.stores import LIMIT, dual_storage, redis_client

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LONG = Claim(holder="one", seconds=1000)
OTHER = Claim(holder="other", seconds=1000)


@dataclass
class RunPlace:
    """A store of runs, and what stands beside it."""

    runs: RedisRuns | MemoryRuns
    records: RecordStore
    checkpoints: CheckpointStore

    async def run_out(self, run_id: str) -> None:
        """Let the lease of a run be over, by the clock of the store."""
        if isinstance(self.runs, MemoryRuns):
            control = self.runs._controls[run_id]
            control.until = control.due = 0.0
        else:
            await expire(self.runs.client, run_id)

    async def lose_control(self, run_id: str) -> None:
        """Let the store forget who advances a run."""
        if isinstance(self.runs, MemoryRuns):
            del self.runs._controls[run_id]
            return
        client, keys = self.runs.client, self.runs.client.keys
        number = keys.partition_of(run_id)
        await client.guard(client.server.delete(keys.thread("q:run", run_id), keys.partition(number, "live")))
        await client.guard(client.server.zrem(keys.partition(number, "due"), run_id))

    async def granted(self, run_id: str = "r", claim: Claim | None = LONG, **parts: Any) -> Granted:
        entered = await self.runs.enter(run_id, claim, **parts)
        assert isinstance(entered, Granted), entered
        return entered

    async def refused(self, run_id: str = "r", claim: Claim | None = OTHER, **parts: Any) -> Refused:
        entered = await self.runs.enter(run_id, claim, **parts)
        assert isinstance(entered, Refused), entered
        return entered


async def expire(client: RedisClient, run_id: str) -> None:
    """Let the lease of a run be over."""
    number = client.keys.partition_of(run_id)
    control = client.keys.thread("q:run", run_id)
    await client.guard(client.server.hset(control, "until", "0"))
    await client.guard(client.server.zadd(client.keys.partition(number, "due"), {run_id: 0}))


def new_run(run_id: str = "r", *, status: str = "pending", tenant: str = "acme", **parts: Any) -> Change:
    columns = {"status": status, "org_id": tenant, **parts.pop("columns", {})}
    return Change(**{"kind": "run", "owner": run_id, "at": AT, "columns": columns, **parts})


def events(run_id: str, *names: str) -> Sequence[Change]:
    return [
        Change(kind="event", owner=run_id, at=AT, columns={"type": name}, fields={"v": Value("t", b"\0")})
        for name in names
    ]


def ending(status: str = "succeeded", run_id: str = "r", after: int = 0) -> dict[str, Any]:
    """What an update that ends a run has, but for `then`."""
    return {"change": new_run(run_id, status=status), "events": events(run_id, status), "after": after}


def writing(run_id: str, *names: str, after: int = 0, **parts: Any) -> Update:
    return Update(**{"events": events(run_id, *names), "after": after, **parts})


@asynccontextmanager
async def memory_runs(request: pytest.FixtureRequest) -> AsyncIterator[RunPlace]:
    records, checkpoints = MemoryRecords(), MemoryCheckpoints()
    yield RunPlace(MemoryRuns(records, checkpoints), records, checkpoints)


@asynccontextmanager
async def redis_runs(request: pytest.FixtureRequest) -> AsyncIterator[RunPlace]:
    async with redis_client(request) as client:
        records, checkpoints = (kind(client, outbox_limit=LIMIT) for kind in (RedisRecords, RedisCheckpoints))
        assert isinstance(records, RedisRecords)
        assert isinstance(checkpoints, RedisCheckpoints)
        yield RunPlace(RedisRuns(client, outbox_limit=LIMIT), records, checkpoints)


@asynccontextmanager
async def redis_runs_alone(request: pytest.FixtureRequest) -> AsyncIterator[RunPlace]:
    async with redis_client(request) as client:
        yield RunPlace(RedisRuns(client), RedisRecords(client), RedisCheckpoints(client))


class Repeating(RedisClient):
    """Calls each script twice that may be repeated, as if the first answer had been lost."""

    async def call(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument]) -> Any:
        if script.repeatable:
            await super().call(script, keys, args)
        return await super().call(script, keys, args)


@asynccontextmanager
async def repeated_runs(request: pytest.FixtureRequest) -> AsyncIterator[RunPlace]:
    url, keys = request.getfixturevalue("redis_url"), Keys(f"t{uuid4().hex}")
    client = await Repeating.open(url, keys=keys, cold=False)
    try:
        yield RunPlace(RedisRuns(client, outbox_limit=LIMIT), RedisRecords(client), RedisCheckpoints(client))
    finally:
        await client.aclose()


@asynccontextmanager
async def dual_runs(request: pytest.FixtureRequest) -> AsyncIterator[RunPlace]:
    async with dual_storage(request) as storage:
        yield RunPlace(EvictedRuns(storage), storage.records, storage.checkpoints)


class EvictedRuns(TieredRuns):
    """After each call everything of the run is archived and leaves Redis, but for its control."""

    def __init__(self, storage: DualStorage) -> None:
        records = storage.records
        assert isinstance(records, TieredRecords)
        super().__init__(storage.client, records, outbox_limit=LIMIT, notify=storage.archiver.notify)
        self.storage = storage
        self.busy = asyncio.Lock()

    async def run_script(self, script: Script, run_id: str, arguments: Sequence[Argument], asked: int) -> list[Any]:
        answer = await super().run_script(script, run_id, arguments, asked)
        if not self.busy.locked():
            async with self.busy:
                await self.storage.flush()
                for kind in ("run", "event"):
                    await evict_record(self.client, kind, run_id)
        return answer


RUN_STORES: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[RunPlace]]] = {
    "memory": memory_runs,
    "redis": redis_runs,
    "redis without archive": redis_runs_alone,
    "redis, all answers lost once": repeated_runs,
    "dual": dual_runs,
}


def told(entry: Entry | None) -> Any:
    """What two stores have to agree on: all but the time, which is the store's own when it is told something."""
    return entry and (entry.seq, entry.fields, entry.columns, entry.counters)
