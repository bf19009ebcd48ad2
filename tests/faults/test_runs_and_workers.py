"""Workers are killed, have wrong clocks, are blocked or made to exit by what they run: rows 9, 12, 13, 15 and 19."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from planner.context import RequestIdentity
from planner.execution import Runs
from planner.execution.history import read_history
from planner.runs import RunPolicy
from storage.redis.keys import Keys
from tests.chaos.run_checks import check
from tests.chaos.run_plan import HOLDING_NEEDS, PLANS
from tests.support.chaos_process import RunWorkers, run_workers
from tests.support.disturbed_runs import open_worker, submit
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.steps import open_saver

ONLY_ASKING = RunPolicy(advance=False)
LEASE, SWEEP = 1.0, 0.2 * 1.3
"""Of the workers: seconds that a lease runs, and that pass between two looks, at most."""
SLACK = 4.0
"""What a machine with other things to do may take longer."""


@pytest.fixture
async def workers(redis: RedisServer, archive: str, tmp_path: Path) -> AsyncIterator[RunWorkers]:
    async with run_workers(redis.url, archive, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("ahead", "behind"),
    [pytest.param(0.0, 0.0, id="right clocks"), pytest.param(120.0, -120.0, id="wrong clocks")],
)
async def test_a_run_whose_worker_is_killed_goes_on_after_a_lease(
    ahead: float, behind: float, workers: RunWorkers, redis: RedisServer, archive: str
) -> None:
    """Rows 9 and 12: only the step that worked is begun again, whatever the clocks of the workers say."""
    loop = asyncio.get_running_loop()
    first, second = await asyncio.gather(workers.start(clock=ahead), workers.start(clock=behind))
    await first.ask("submit", run="r", plan="holding")
    await eventually(lambda: workers.calls(first), "the first worker is at the first item")
    killed = loop.time()
    await workers.kill(first)
    await eventually(lambda: workers.calls(second), "the second worker takes the run over")
    assert loop.time() - killed < LEASE + SWEEP + SLACK
    workers.journal.released.touch()
    await eventually(workers.told, "the run ends")

    async with open_saver(redis.url, archive) as saver:
        story = await workers.story(saver)
        assert list(check(story, HOLDING_NEEDS, {"last": 1})) == []
        assert story.calls[:2] == ["hold:0", "hold:0"]
        assert story.duplicates < story.lives
        assert (await read_history(saver, "r", 1)).final is not None, "its newest checkpoint is its last"


async def test_an_action_that_blocks_the_event_loop_keeps_its_lease(workers: RunWorkers, redis: RedisServer) -> None:
    """Row 15: it is renewed from a thread; another worker, which advances runs of its own, does not take it."""
    first, second = await asyncio.gather(workers.start(lease=1.5), workers.start(lease=1.5))
    await first.ask("submit", run="r", plan="blocking")
    await eventually(workers.calls, "the action blocks")
    with redis.client() as client:

        async def runs_out() -> float:
            found = client.hget(Keys().thread("q:run", "r"), "until")
            return float(found) if isinstance(found, bytes) else 0.0

        begun = await runs_out()

        async def renewed() -> bool:
            return await runs_out() > begun + 2 * 1500

        await eventually(renewed, "the lease is prolonged for two more")
    await second.ask("submit", run="s", plan="failing", inputs={"work": 0.0})
    await eventually(lambda: workers.told("s"), "the other one is at work")
    workers.journal.released.touch()
    await eventually(workers.told, "the run ends")

    assert await workers.takes() == [first.pid]
    assert await workers.told() == ["succeeded"]
    assert await workers.calls() == ["block"]


async def test_a_run_that_kills_three_workers_is_parked_and_others_go_on(
    workers: RunWorkers, redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """Rows 13 and 19: it fails as poisoned, and can be looked at."""
    await workers.start("forking", lease=0.5)
    async with open_worker(redis.url, archive, tmp_path, workers.catalog(), policy=ONLY_ASKING) as planner:
        await submit(planner, PLANS["dying"], "r")
        await eventually(workers.calls, "it has killed once")
        await submit(planner, PLANS["holding"], "s")
        workers.journal.released.touch()
        records = Runs(planner.service.run_service.log.stores.records)

        async def ended(run: str) -> bool:
            return (await records.get(run, RequestIdentity())).ended

        await eventually(lambda: ended("r"), "it is given up")
        await eventually(lambda: ended("s"), "the other one ends")
        poisoned, other = [await records.get(run, RequestIdentity()) for run in "rs"]

    assert (poisoned.status, poisoned.reason) == ("failed", "poisoned")
    assert "3 processes in a row died" in poisoned.errors[0]
    assert await workers.calls() == ["die"] * 3
    assert len(set(await workers.takes())) == 4
    assert other.status == "succeeded"
