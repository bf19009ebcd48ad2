"""How many actions work at once, in which order they start, and large plans."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import Rate, action
from planner.execution.gate import PriorityGate
from planner.limits import Limits
from tests.support.running import Runner, loop_turn, make_plan


class Crowd:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.order: list[Any] = []

    async def visit(self, name: Any) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.order.append(name)
        for _ in range(5):
            await loop_turn()
        self.inside -= 1


def _fan(count: int, **step: Any) -> Any:
    return make_plan(*({"id": f"s{at}", "action": "work", "inputs": {"name": at}, **step} for at in range(count)))


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_a_run_keeps_to_its_concurrency(most: int) -> None:
    """Also at 1, where LangGraph's own limit deadlocks."""
    crowd = Crowd()

    @action
    async def work(name: int) -> int:
        await crowd.visit(name)
        return name

    async with asyncio.timeout(20):
        result = await Runner(work, saver=InMemorySaver(), limits=Limits(concurrency=most)).run(_fan(20))

    assert result.ok
    assert most == crowd.most


async def test_an_action_keeps_to_its_own_limit_and_keeps_no_other_out() -> None:
    """Waiting for the action's limit takes no place of the run's."""
    limited, free = Crowd(), Crowd()

    @action(max_concurrency=2)
    async def work(name: int) -> int:
        await limited.visit(name)
        return name

    @action
    async def other(name: int) -> int:
        await free.visit(name)
        return name

    plan = make_plan(
        *({"id": f"w{at}", "action": "work", "inputs": {"name": at}} for at in range(10)),
        *({"id": f"x{at}", "action": "other", "inputs": {"name": at}} for at in range(6)),
    )
    result = await Runner(work, other, limits=Limits(concurrency=4)).run(plan)

    assert result.ok
    assert (2, 2) <= (limited.most, free.most)
    assert 2 == limited.most


async def test_items_of_a_mapped_step_keep_to_the_limits_too() -> None:
    """Each item takes a place; the step itself takes none."""
    crowd = Crowd()

    @action(max_concurrency=3)
    async def work(name: int) -> int:
        await crowd.visit(name)
        return name

    plan = make_plan({"id": "m", "action": "work", "for_each": list(range(12)), "inputs": {"name": "${item}"}})
    result = await Runner(work, limits=Limits(concurrency=1)).run(plan)

    assert {"result": list(range(12))} == result.outputs
    assert 1 == crowd.most


async def test_among_ready_steps_the_lowest_priority_starts_first() -> None:
    """Also among the first steps of a plan, and among those that one step made ready."""
    crowd = Crowd()

    @action
    async def work(name: int, after: Any = None) -> int:
        await crowd.visit(name)
        return name

    first = [{"id": f"a{at}", "action": "work", "inputs": {"name": at}, "priority": at} for at in (3, 0, 2, 1)]
    then = [
        {"id": f"b{at}", "action": "work", "inputs": {"name": at, "after": "${a3}"}, "priority": at} for at in (9, 7, 8)
    ]
    result = await Runner(work, limits=Limits(concurrency=1)).run(make_plan(*then, *first))

    assert result.ok
    assert [0, 1, 2, 3, 7, 8, 9] == crowd.order


async def test_a_rate_holds_calls_back_and_a_cancelled_run_does_not_wait_for_it() -> None:
    """Two calls an hour: the third is never made, and the run ends at once when it is cancelled."""
    calls: list[int] = []
    two = asyncio.Event()

    @action(rate=Rate(calls=2, per=3600))
    async def work(name: int) -> int:
        calls.append(name)
        if len(calls) == 2:
            two.set()
        return name

    runner = Runner(work)
    async with asyncio.timeout(10):
        run = asyncio.create_task(runner.run(_fan(3)))
        await two.wait()
        await runner.until("step_success", count=2)
        runner.executor.cancel("run-1")
        result = await run

    assert 2 == len(calls)
    assert ("cancelled", "stopped") == (result.status, result.outcomes["s2"].reason)


async def test_a_gate_gives_no_place_to_one_who_left() -> None:
    """A waiter that is cancelled, even in the moment it is let in, takes nothing with it."""
    gate = PriorityGate(1)
    entered: list[str] = []

    async def visit(name: str) -> None:
        async with gate.hold(0):
            entered.append(name)
            await loop_turn()

    leaving = asyncio.create_task(visit("leaving"))
    await loop_turn()
    leaving.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(visit("one"), visit("two"))

    assert ["one", "two"] == entered


@pytest.mark.parametrize("shape", ["chain", "fan"])
async def test_a_plan_of_many_steps_runs_through_the_window(shape: str) -> None:
    """A long chain does not fill the window: steps are called by level."""

    @action
    async def work(name: int, after: Any = None) -> int:
        return name

    steps = [
        {
            "id": f"s{at}",
            "action": "work",
            "inputs": {"name": at, "after": f"${{s{at - 1}}}" if shape == "chain" and at else None},
        }
        for at in range(700)
    ]
    side = [{"id": f"t{at}", "action": "work", "inputs": {"name": at}} for at in range(50)]
    result = await Runner(work, saver=InMemorySaver(), limits=Limits(window=16)).run(make_plan(*side, *steps))

    assert result.ok
    assert 750 == result.usage.steps
    assert {"result": 699} == result.outputs


async def test_progress_beyond_the_bound_is_dropped_and_everything_else_told(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the bound, once."""
    from planner.catalog import ActionContext

    @action
    async def talk(ctx: ActionContext) -> int:
        for at in range(50):
            ctx.report(at / 50)
        return 1

    runner = Runner(talk, limits=Limits(events=10))
    assert (await runner.run(make_plan({"id": "t", "action": "talk"}))).ok
    assert 8 == runner.phases().count("step_progress")
    assert ["step_success", "success"] == runner.phases()[-2:]
    assert 1 == caplog.text.count("limit 'events'")


async def test_a_rate_below_one_call_a_second_is_kept_too() -> None:
    """One call in two hours: the second is never made."""
    calls: list[int] = []
    first = asyncio.Event()

    @action(rate=Rate(calls=0.5, per=3600))
    async def work(name: int) -> int:
        calls.append(name)
        first.set()
        return name

    runner = Runner(work)
    async with asyncio.timeout(10):
        run = asyncio.create_task(runner.run(_fan(3)))
        await first.wait()
        await runner.until("step_success")
        runner.executor.cancel("run-1")
        await run

    assert 1 == len(calls)
