"""A run that was stopped stays stopped, whatever was planned on before or meanwhile."""

import asyncio
from datetime import timedelta
from typing import Any, Literal

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import action
from planner.limits import Limits
from planner.plan import CandidatePlan
from planner.plan.replanning import ReplanRequest
from tests.support.ledger import Crash, Ledger, cancelled_at_once, statuses, step
from tests.support.replanned import FAILS, asks, message, replanned
from tests.support.running import Runner, make_plan


async def test_a_replanned_run_that_waits_is_cancelled() -> None:
    """What the tail did is undone as well, and the question is not asked any more."""
    saver, ledger = InMemorySaver(), Ledger()
    tail = make_plan(step("q", "a"), step("ask", "q", action="asks") | {"inputs": {"uses": ["${q}"]}}, step("z", "ask"))

    def runner() -> Runner:
        return replanned(tail, asks, *ledger.actions(), saver=saver)

    waiting = await runner().run(FAILS, on_failure="replan")
    result = await cancelled_at_once(runner(), FAILS, on_failure="replan")

    assert ("waiting", "cancelled") == (waiting.status, result.status)
    assert {"q": "undone", "a": "undone"} == statuses(result)
    assert ["do a", "do q", "undo q", "undo a"] == ledger.lines


async def test_the_deadline_of_a_replanned_run_counts_after_a_crash() -> None:
    """Nothing of the tail begins."""
    saver, ledger, begun = InMemorySaver(), Ledger(), list[str]()

    @action
    async def dies(uses: list[str]) -> str:
        begun.append("dies")
        raise Crash

    tail = make_plan({"id": "d", "action": "dies", "inputs": {"uses": ["${a}"]}})
    with pytest.raises(Crash):
        await replanned(tail, dies, *ledger.actions(), saver=saver).run(FAILS, on_failure="replan")
    late = replanned(tail, dies, *ledger.actions(), saver=saver, limits=Limits(run_timeout=timedelta(microseconds=1)))
    result = await late.run(FAILS, on_failure="replan")

    assert ("failed", "skipped", 1) == (result.status, result.outcomes["d"].status, len(begun))
    assert "run_timeout" in str(result.errors[-1].error)


@pytest.mark.parametrize("on_cancel", ["compensate", "keep"])
async def test_a_cancel_while_the_replanner_thinks_is_a_cancel(on_cancel: Literal["compensate", "keep"]) -> None:
    """Its policy is that of a cancel, not of the failure before it."""
    ledger, asked = Ledger(), asyncio.Event()

    async def slow(request: ReplanRequest, /) -> CandidatePlan | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    runner = Runner(*ledger.actions(), saver=InMemorySaver())
    runner.executor.replanner = slow
    running = asyncio.create_task(runner.run(FAILS, on_failure="replan", on_cancel=on_cancel))
    await asked.wait()
    runner.executor.cancel("run-1")
    result = await running

    assert ("cancelled", ["a"] if on_cancel == "compensate" else []) == (result.status, ledger.undone)
    assert "the run was stopped" in message(runner)


async def test_a_plan_that_comes_after_the_cancel_is_not_begun() -> None:
    """It is the plan of the run, since it may be stored, but every step of it is skipped."""
    ledger = Ledger()
    runner = Runner(*ledger.actions(), saver=InMemorySaver())

    async def late(request: ReplanRequest, /) -> CandidatePlan | None:
        asyncio.get_running_loop().call_soon(runner.executor.cancel, "run-1")
        return make_plan(step("b", "a"))

    runner.executor.replanner = late
    result = await runner.run(FAILS, on_failure="replan")

    assert ("cancelled", "stopped") == (result.status, result.outcomes["b"].reason)
    assert ["do a", "undo a"] == ledger.lines


async def test_whoever_cancels_in_the_grace_is_heard_before_the_replanner() -> None:
    """It is not asked at all."""
    ledger, told = Ledger(), list[str]()

    @action
    async def slow() -> str:
        await asyncio.Event().wait()
        return ""

    def replanner(request: ReplanRequest, /) -> Any:
        told.append(request.failed_step)
        raise AssertionError

    runner = Runner(slow, *ledger.actions(), saver=InMemorySaver(), limits=Limits(grace=timedelta(seconds=20)))
    runner.executor.replanner = replanner
    running = asyncio.create_task(
        runner.run(make_plan(step("f", action="fail"), {"id": "s", "action": "slow"}), on_failure="replan")
    )
    await runner.until("step_failure", "f")
    runner.executor.cancel("run-1")
    result = await running

    assert ("cancelled", []) == (result.status, told)


async def test_a_run_that_was_being_undone_does_not_ask_again() -> None:
    """Nobody tells the next process that it was cancelled: the decision is in its checkpoints."""
    saver, ledger, crash = InMemorySaver(), Ledger(), [True]

    @action(name="take_back")
    async def undo(name: str) -> None:
        if crash[0]:
            raise Crash
        ledger.lines.append(f"undo {name}")

    @action
    async def hang(uses: list[str]) -> str:
        await asyncio.Event().wait()
        return ""

    do = ledger.actions()[1]
    hanging = {"id": "o", "action": "hang", "optional": True, "inputs": {"uses": ["${a}"]}}
    plan = make_plan(step("a"), {"id": "q", "action": "asks", "inputs": {"uses": ["${a}"]}}, hanging, step("z", "q"))
    runner = Runner(undo, do, asks, hang, saver=saver)
    running = asyncio.create_task(runner.run(plan))
    await runner.until("waiting", "q")
    await runner.until("step_start", "o")
    runner.executor.cancel("run-1")
    with pytest.raises(Crash):
        await running
    crash[0] = False
    result = await Runner(undo, do, asks, hang, saver=saver).run(plan)

    assert ("cancelled", ["a"]) == (result.status, ledger.undone)
