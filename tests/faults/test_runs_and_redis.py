"""Plans are run while Redis is away, full, read-only, or has lost what it knew: rows 2 to 6, 18 and 20."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from planner.catalog import ActionCatalog, action
from planner.node_planner import NodePlanner
from planner.runs import LocalEngine, RunPolicy
from storage.redis.eviction import evict_record
from storage.redis.keys import Keys
from tests.chaos.faults import pause
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.cutting_proxy import CuttingProxy
from tests.support.disturbed_runs import (
    STILL,
    Standstill,
    events_of,
    open_worker,
    phases_of,
    storage_of,
    until_ended,
)
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.run_stores import expire
from tests.support.running import make_plan

ENDED = ["start", "success"]
SHORT = RunPolicy(lease=1.0, sweep=0.1, grace=0.1)
LONG = RunPolicy(lease=5.0, sweep=0.1, grace=0.1)
"""Of tests in which nobody may lose a lease, also when the machine has other things to do."""
SLOW = RunPolicy(lease=1.0, sweep=60.0, grace=0.1)
"""Of a process that looks for no runs by itself."""


@pytest.fixture
def still() -> Standstill:
    return Standstill()


@pytest.fixture
async def planners(
    request: pytest.FixtureRequest, redis: RedisServer, archive: str, tmp_path: Path, still: Standstill
) -> AsyncIterator[tuple[NodePlanner, NodePlanner]]:
    """Two that could advance the same runs; the first has begun one, whose step in the middle works."""
    policy = LONG if getattr(request, "param", None) is LONG else SHORT
    async with (
        open_worker(redis.url, archive, tmp_path, still.catalog, policy=policy) as one,
        open_worker(redis.url, archive, tmp_path, still.catalog, policy=policy) as other,
    ):
        await one.execute_background(STILL, exec_id="r")
        await still.reached()
        await eventually(lambda: phases_of(one, "r", "b"), "that the step works is written")
        yield one, other


Pair = tuple[NodePlanner, NodePlanner]


def freeze(redis: RedisServer) -> None:
    os.kill(redis.pid, signal.SIGSTOP)


def thaw(redis: RedisServer) -> None:
    os.kill(redis.pid, signal.SIGCONT)


def token_of(redis: RedisServer) -> int:
    """The fencing token of the run; 0 without one."""
    with redis.client() as client:
        found = client.hget(Keys().thread("q:run", "r"), "token")
        return int(str(found or b"0", "ascii") if isinstance(found, bytes) else 0)


async def taken_over(planner: NodePlanner, still: Standstill) -> None:
    """Release the step in the middle once it is called again, and check that what was finished before was not."""
    await still.reached(2)
    still.released.set()
    await until_ended(planner, "r")

    assert still.calls[:3] == ["a", "b", "b"]
    assert still.calls.count("a") == 1
    assert [phase for phase in await phases_of(planner, "r") if phase != "start"] == ["success"]
    assert await phases_of(planner, "r", "a") == ["step_start", "step_success"]
    await numbered(planner)


async def numbered(planner: NodePlanner) -> None:
    """Check that no event is missing or there twice."""
    numbers = [event.seq for event in await events_of(planner, "r")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("planners", [LONG], indirect=True, ids=["long lease"])
async def test_a_redis_that_is_frozen_for_less_than_a_lease_disturbs_nobody(
    planners: Pair, still: Standstill, redis: RedisServer
) -> None:
    """Row 2: the run goes on, and nobody else takes it up."""
    token = token_of(redis)
    freeze(redis)
    still.released.set()
    await pause(asyncio.Event(), 0.4)
    assert token > 0
    thaw(redis)
    await until_ended(planners[1], "r")

    assert still.calls == ["a", "b", "c"]
    assert await phases_of(planners[1], "r") == ENDED


@pytest.mark.parametrize(
    ("away", "back"),
    [
        pytest.param(freeze, thaw, id="frozen"),
        pytest.param(RedisServer.kill, RedisServer.start, id="killed"),
        pytest.param(RedisServer.stop, RedisServer.start, id="restarted"),
    ],
)
async def test_a_redis_that_is_away_for_longer_costs_the_step_that_worked(
    away: Callable[[RedisServer], object],
    back: Callable[[RedisServer], object],
    planners: Pair,
    still: Standstill,
    redis: RedisServer,
) -> None:
    """Row 3: the owner stops by itself, while nobody can tell it to; then one of both goes on."""
    token = token_of(redis)
    await asyncio.to_thread(away, redis)
    await still.until_stopped()
    await asyncio.to_thread(back, redis)

    await taken_over(planners[1], still)
    assert token > 0


async def test_an_outage_of_redis_is_no_death_of_a_worker(
    planners: Pair, still: Standstill, redis: RedisServer
) -> None:
    """Else three of them within one step would park the run, as one that kills whoever advances it."""
    await asyncio.to_thread(redis.kill)
    await still.until_stopped()
    await pause(asyncio.Event(), 3.0)  # until nobody tries any more to give it back
    await asyncio.to_thread(redis.start)
    await still.reached(2)
    with redis.client() as client:

        async def forgiven() -> bool:
            return client.hget(Keys().thread("q:run", "r"), "crashes") == b"0"

        await eventually(forgiven, "that the lease ran out is not held against the run")
    still.released.set()
    await until_ended(planners[1], "r")


def flush(redis: RedisServer) -> None:
    with redis.client() as client:
        client.flushall()


def lose_disk(redis: RedisServer) -> None:
    redis.kill()
    for file in redis.folder.rglob("*.aof"):
        os.truncate(file, 0)
    redis.start()


@pytest.mark.parametrize("lose", [flush, lose_disk])
async def test_a_redis_that_lost_everything_gets_the_runs_back_from_the_archive(
    lose: Callable[[RedisServer], None], planners: Pair, still: Standstill, redis: RedisServer
) -> None:
    """Row 4: what was archived is not repeated, and the token goes on rising."""
    one, other = planners
    await storage_of(one).flush()
    token = token_of(redis)
    await asyncio.to_thread(lose, redis)
    await still.until_stopped()

    await taken_over(other, still)
    await storage_of(one).flush()
    with redis.client() as client:
        fence = client.hget(Keys().thread("m", "r"), "fence")
    assert isinstance(fence, bytes)
    assert int(fence) > token


async def test_a_replica_takes_over_and_refuses_until_it_is_the_master(
    redis: RedisServer, archive: str, short_folder: Path, tmp_path: Path, still: Standstill
) -> None:
    """Row 5: the master dies, and the way leads to its replica, which is told to be the master a while later."""
    with RedisServer(short_folder / "replica", tcp=True) as replica, replica.client() as client:
        client.replicaof("127.0.0.1", str(redis.port))

        async def in_step() -> bool:
            return client.info("replication").get("master_link_status") == "up"

        await eventually(in_step, "the replica has what the master has")
        async with (
            CuttingProxy(redis.url) as way,
            open_worker(way.url, archive, tmp_path, still.catalog) as planner,
        ):
            await planner.execute_background(STILL, exec_id="r")
            await still.reached()
            await eventually(lambda: phases_of(planner, "r", "b"), "that the step works is written")
            with redis.client() as master:
                assert await asyncio.to_thread(master.wait, 1, 5000) == 1
            await asyncio.to_thread(redis.kill)
            way.redirect(replica.url)
            await still.until_stopped()
            client.replicaof("NO", "ONE")

            await taken_over(planner, still)


@pytest.mark.parametrize("planners", [LONG], indirect=True, ids=["long lease"])
async def test_runs_go_on_while_the_archive_is_away_and_get_there_later(
    planners: Pair, still: Standstill, clickhouse: ClickHouseHttp
) -> None:
    """Row 6: also one that begins meanwhile."""
    one, other = planners
    await asyncio.to_thread(clickhouse.pause)
    still.released.set()
    assert (await (await one.get_run("r")).wait()).outputs == {"c": "c"}
    assert (await (await other.execute_background(STILL, exec_id="s")).wait()).ok
    await asyncio.to_thread(clickhouse.resume)
    storage = storage_of(one)
    await storage.flush()

    for run in ("r", "s"):
        hot = [await storage.records.read(kind, run) for kind in ("run", "event")]
        assert [await evict_record(storage.client, kind, run) for kind in ("run", "event")] == [True, True]
        cold = [await storage.records.read(kind, run) for kind in ("run", "event")]
        assert hot[1] == cold[1]
        assert hot[0][-1] == cold[0][-1]


@asynccontextmanager
async def full(redis: RedisServer) -> AsyncIterator[None]:
    with redis.client() as client:
        client.config_set("maxmemory", "1")
        yield
        client.config_set("maxmemory", "0")


@asynccontextmanager
async def read_only(redis: RedisServer) -> AsyncIterator[None]:
    """As a master is that was told to follow another one, of which nothing comes."""
    with redis.client() as client:
        client.replicaof("127.0.0.1", "1")
        yield
        client.replicaof("NO", "ONE")


@pytest.mark.parametrize("refusing", [full, read_only])
async def test_a_redis_that_refuses_writes_is_away_and_the_run_has_not_failed(
    refusing: Callable[[RedisServer], AbstractAsyncContextManager[None]],
    planners: Pair,
    still: Standstill,
    redis: RedisServer,
) -> None:
    """Row 18: it goes on when that is cured."""
    async with refusing(redis):
        await still.until_stopped()

    await taken_over(planners[1], still)
    assert "failure" not in await phases_of(planners[1], "r")


@pytest.mark.parametrize("planners", [LONG], indirect=True, ids=["long lease"])
async def test_a_run_that_leaves_redis_while_it_works_comes_back(planners: Pair, still: Standstill) -> None:
    """Row 20: its thread, its record and its events are evicted as if they had been idle for long."""
    one, other = planners
    storage = storage_of(one)
    await storage.flush()
    assert [await evict_record(storage.client, kind, "r") for kind in ("run", "event")] == [True, True]
    assert await storage.archiver.evict_thread("r")
    still.released.set()
    await until_ended(other, "r")

    assert still.calls == ["a", "b", "c"]
    assert await phases_of(other, "r") == ENDED
    await numbered(other)


class Elsewhere(LocalEngine):
    """Wakes this process up as a queue does: whoever submits a run only follows it."""

    local = False


async def test_who_follows_a_run_hears_of_its_end_although_its_process_lost_it(
    redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """The process is still letting go of it, since an action cleans up, when another one has ended it."""
    calls, let_go = list[str](), asyncio.Event()

    @action(effect="write", idempotent="keyed")
    async def clean() -> str:
        calls.append("clean")
        if len(calls) > 1:
            return "done"
        try:
            return str(await asyncio.Event().wait())
        finally:
            await let_go.wait()

    plan = make_plan({"id": "s", "action": "clean"}, outputs={"s": "${s}"})
    catalogs = [ActionCatalog([clean]) for _ in range(2)]
    async with (
        open_worker(redis.url, archive, tmp_path, catalogs[0], engine=Elsewhere(), policy=SLOW) as one,
        open_worker(redis.url, archive, tmp_path, catalogs[1]) as other,
    ):
        handle = await one.execute_background(plan, exec_id="r")
        await eventually(lambda: phases_of(one, "r", "s"), "the step works")
        await expire(storage_of(other).client, "r")
        await until_ended(other, "r")
        waiting = asyncio.create_task(handle.wait())
        await pause(asyncio.Event(), 1.0)
        let_go.set()
        result = await waiting

    assert (result.status, result.outputs) == ("succeeded", {"s": "done"})
    assert len(calls) >= 2
