"""Many runs at once, huge values, callbacks that hang, what others wrote: rows 11, 14, 16, 17, 22, 23, 26, 27."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langgraph.checkpoint.base import empty_checkpoint

from checkpointer import DualWriteSaver
from planner.catalog import ActionCatalog, action
from planner.context import RequestIdentity
from planner.errors import RunEnded, TooManyRuns
from planner.execution import ExecutionResult, Runs
from planner.limits import Limits
from planner.node_planner import NodePlanner
from planner.runs import RunPolicy, notifier
from tests.chaos.faults import pause
from tests.support.disturbed_runs import (
    STILL,
    Standstill,
    open_worker,
    phases_of,
    status_of,
    storage_of,
    submit,
    until_ended,
)
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.running import make_plan
from tests.support.webhooks import Webhooks

ONE = make_plan({"id": "a", "action": "count", "inputs": {"name": "a"}}, outputs={"a": "${a}"})
ASKING = RunPolicy(advance=False)
LONG = RunPolicy(lease=10.0, sweep=0.1, grace=0.1)
"""Nobody loses a lease, also when the machine has other things to do."""


@pytest.fixture
def still() -> Standstill:
    return Standstill()


@pytest.fixture
async def planner(redis: RedisServer, archive: str, tmp_path: Path, still: Standstill) -> AsyncIterator[NodePlanner]:
    async with open_worker(redis.url, archive, tmp_path, still.catalog, policy=LONG) as opened:
        yield opened


async def test_a_run_that_is_submitted_a_hundred_times_has_one_owner(
    redis: RedisServer, archive: str, tmp_path: Path, planner: NodePlanner, still: Standstill
) -> None:
    """Row 11: by two processes, and each caller hears of its end."""
    async with open_worker(redis.url, archive, tmp_path, still.catalog, policy=LONG) as other:
        calls = [one.execute_background(STILL, exec_id="r") for one in (planner, other) for _ in range(50)]
        handles = await asyncio.gather(*calls)
        await still.reached()
        still.released.set()
        results = await asyncio.gather(*(handle.wait() for handle in handles))

    assert [result.outputs for result in results] == [{"c": "c"}] * 100
    assert still.calls == ["a", "b", "c"]
    assert await phases_of(planner, "r") == ["start", "success"]


@action
async def huge(size: int) -> str:
    return "x" * size


@action
async def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


async def test_huge_and_deep_values_are_refused_before_they_reach_a_store(
    redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """Row 14: the step fails with a typed error, and the next run is not concerned."""
    async with open_worker(redis.url, archive, tmp_path, ActionCatalog([huge, deep])) as planner:
        large, nested, small = [
            await planner.execute_plan(make_plan({"id": "s", "action": name, "inputs": inputs}), run_id=run)
            for run, name, inputs in (
                ("large", "huge", {"size": 50_000_000}),
                ("nested", "deep", {"levels": 100_000}),
                ("small", "huge", {"size": 1000}),
            )
        ]
        with redis.client() as client:
            used = int(client.info("memory")["used_memory_peak"])

    assert (large.outcomes["s"].error_type, nested.outcomes["s"].error_type) == ("LimitExceeded", "UnstorableOutput")
    assert (large.status, nested.status, small.status) == ("failed", "failed", "succeeded")
    assert used < 30_000_000


async def test_a_callback_that_hangs_or_fails_holds_up_no_other_and_is_given_up(
    redis: RedisServer, archive: str, tmp_path: Path, still: Standstill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 16: it is tried again, then put where people can see it; the run is as it was."""
    monkeypatch.setattr(notifier, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notifier, "MOST_ATTEMPTS", 2)
    told, heard = list[str](), asyncio.Event()

    async def hangs(result: ExecutionResult) -> None:
        told.append(result.run_id)
        await heard.wait()

    def fails(result: ExecutionResult) -> None:
        raise ValueError(result.run_id)

    def hear(run: str, status: str) -> None:
        told.append(f"{run} {status}")
        heard.set()

    callbacks = {"hangs": hangs, "fails": fails}
    async with (
        Webhooks(hear) as hooks,
        open_worker(redis.url, archive, tmp_path, still.catalog, callbacks=callbacks) as planner,
    ):
        live = planner.service.run_service.log.stores.live
        await planner.execute_background(ONE, exec_id="hanging", on_complete="hangs")

        async def hanging() -> bool:
            return told == ["hanging"]

        await eventually(hanging, "the first callback hangs")
        await planner.execute_background(ONE, exec_id="failing", on_complete="fails")
        await planner.execute_background(ONE, exec_id="fine", on_complete=hooks.url("fine"))
        async with asyncio.timeout(20):
            await heard.wait()
        (given_up,) = await eventually(live.dead, "the one that fails is given up")

        assert told == ["hanging", "fine succeeded"]
        assert (given_up.run_id, given_up.target, given_up.attempts) == ("failing", "fails", 2)
        assert "ValueError: failing" in given_up.error
        assert await status_of(planner, "failing") == "succeeded"


async def test_a_server_that_never_answers_a_callback_is_given_up(
    redis: RedisServer, archive: str, tmp_path: Path, still: Standstill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 16: each delivery has the same id, by which the server knows it again."""
    monkeypatch.setattr(notifier, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notifier, "MOST_ATTEMPTS", 3)
    limits = Limits(callback_timeout=0.2 * Limits().callback_timeout / 60)
    async with (
        Webhooks(lambda run, status: None) as hooks,
        open_worker(redis.url, archive, tmp_path, still.catalog, limits=limits) as planner,
    ):
        hooks.silent = True
        await planner.execute_background(ONE, exec_id="r", on_complete=hooks.url("r"))
        (given_up,) = await eventually(planner.service.run_service.log.stores.live.dead, "it is given up")

        assert hooks.ids == [given_up.id] * 3
        assert await status_of(planner, "r") == "succeeded"


async def test_a_run_that_is_cancelled_at_any_moment_ends_once(
    redis: RedisServer, archive: str, tmp_path: Path, planner: NodePlanner, still: Standstill
) -> None:
    """Row 17: within a step, between two, while it ends or after that, by another process."""
    still.released.set()
    async with open_worker(redis.url, archive, tmp_path, still.catalog, policy=ASKING) as other:

        async def run_and_cancel(run: str) -> tuple[str, list[str]]:
            handle = await planner.execute_background(STILL, exec_id=run)
            await pause(asyncio.Event(), random.uniform(0, 0.3))
            with suppress(RunEnded):
                await other.service.run_service.cancel(run, RequestIdentity())
            result = await handle.wait(end=True)
            assert result.status == await status_of(planner, run)
            return result.status, [phase for phase in await phases_of(planner, run) if phase != "start"]

        ends = await asyncio.gather(*(run_and_cancel(f"r{number}") for number in range(20)))

    assert {(status, *phases) for status, phases in ends} <= {("succeeded", "success"), ("cancelled", "cancelled")}


async def test_a_checkpoint_that_would_call_something_ends_the_run_and_calls_nothing(
    redis: RedisServer, archive: str, tmp_path: Path, planner: NodePlanner, still: Standstill
) -> None:
    """Row 22: what stands in the thread makes a folder when it is loaded as LangGraph does by default."""
    folder = tmp_path / "made"

    class Evil:
        def dumps_typed(self, obj: object) -> tuple[str, bytes]:
            call = ormsgpack.packb(["os", "mkdir", str(folder)])
            return "msgpack", ormsgpack.packb(ormsgpack.Ext(0, call))

        def loads_typed(self, data: tuple[str, bytes]) -> object:
            raise AssertionError(data)

    writer = DualWriteSaver(storage_of(planner).checkpoints, serde=Evil())
    checkpoint: Any = {**empty_checkpoint(), "channel_values": {"__start__": 1}, "channel_versions": {"__start__": "1"}}
    place: Any = {"configurable": {"thread_id": "r", "checkpoint_ns": ""}}
    await writer.aput(place, checkpoint, {"source": "input", "step": -1}, {"__start__": "1"})
    await submit(planner, ONE, "r")
    await until_ended(planner, "r", "failed")

    record = await Runs(planner.service.run_service.log.stores.records).get("r", RequestIdentity())
    assert record.error_type == "ForbiddenType"
    assert "os:mkdir" in record.errors[0]
    assert not folder.exists()
    assert still.calls == []


async def test_a_forbidden_action_is_refused_where_it_would_be_executed(
    redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """Row 23: the plan was recorded by somebody who did not check it; the roles of the run's owner count."""
    called: list[str] = []

    @action(roles=["admin"])
    async def erase(name: str) -> str:
        called.append(name)
        return name

    plan = make_plan({"id": "e", "action": "erase", "inputs": {"name": "all"}})
    async with open_worker(redis.url, archive, tmp_path, ActionCatalog([erase])) as planner:
        for run, roles in (("forbidden", ()), ("allowed", ("admin",))):
            await submit(planner, plan, run, identity=RequestIdentity(roles=roles))
        await until_ended(planner, "allowed")
        refused = await planner.execute_plan(plan, run_id="refused")

        assert called == ["all"]
        assert "may be called by the roles admin only" in (refused.errors[0].error or "")
        assert await status_of(planner, "forbidden") in {"pending", "failed"}
        assert await phases_of(planner, "forbidden") in ([], ["failure"])


async def test_a_noisy_tenant_fills_neither_the_process_nor_the_place_of_others(
    redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """Row 26: no more runs are taken up than there are slots, and a run of another tenant gets its turn among them."""
    active, most, order = 0, 0, list[str]()

    @action
    async def work(name: str) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await pause(asyncio.Event(), 0.005)
        order.append(name)
        active -= 1

    noisy, quiet = (RequestIdentity(org_id=name) for name in ("noisy", "quiet"))
    limits = Limits(tenant_runs=60)
    async with open_worker(
        redis.url, archive, tmp_path, ActionCatalog([work]), policy=ASKING, limits=limits
    ) as submitting:
        for number in range(60):
            await submit(submitting, plan_of("noisy"), f"noisy-{number}", identity=noisy)
        with pytest.raises(TooManyRuns, match="tenant_runs"):
            await submitting.execute_background(plan_of("noisy"), identity=noisy)
        await submit(submitting, plan_of("quiet"), "quiet", identity=quiet)
    policy = RunPolicy(slots=4, sweep=0.05, grace=0.1)
    async with open_worker(redis.url, archive, tmp_path, ActionCatalog([work]), policy=policy):

        async def all_done() -> bool:
            return len(order) == 61

        await eventually(all_done, "all runs end")

    assert 1 <= most <= 4
    assert order.count("quiet") == 1


def plan_of(name: str) -> Any:
    return make_plan({"id": "w", "action": "work", "inputs": {"name": name}})


async def test_two_hundred_runs_at_once_share_one_client(planner: NodePlanner, still: Standstill) -> None:
    """Row 27: they wait for a connection, and none fails for the want of one."""
    results = await asyncio.gather(*(planner.execute_plan(ONE, run_id=f"r{number}") for number in range(220)))

    assert {result.status for result in results} == {"succeeded"}
    assert len(still.calls) == 220
