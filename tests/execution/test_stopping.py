"""Stopping means stopping: refused writes, cancelled runs, actions and stores that do not answer."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver

import planner.execution.attempt
from planner.catalog import ActionCatalog, ActionContext, action
from planner.context import RunContext
from planner.execution import PlanExecutor, RunRequest
from planner.limits import Limits
from tests.support.run_services import ALONE, open_service, request_of
from tests.support.running import Runner, loop_turn, make_plan
from tests.support.savers import GatedSaver, step_of


class Down(Exception):
    pass


async def test_a_refused_write_of_an_item_stops_the_items_that_follow() -> None:
    """Otherwise a worker that was fenced off would go through the whole list."""
    ran: list[int] = []

    def refuse(writes: Sequence[tuple[str, Any]]) -> None:
        for _, value in writes:
            if isinstance(value, dict) and value.get("value") == 2:
                raise Down

    @action(max_concurrency=1)
    async def work(a: int) -> int:
        ran.append(a)
        return a

    plan = make_plan({"id": "m", "action": "work", "for_each": list(range(200)), "inputs": {"a": "${item}"}})
    with pytest.raises(Down):
        await Runner(work, saver=GatedSaver(refuse)).run(plan)

    assert len(ran) < 10


async def test_nothing_of_a_run_that_broke_off_is_recorded_as_skipped() -> None:
    """It goes on where it was, when the store is back."""
    down = True

    def refuse(writes: Sequence[tuple[str, Any]]) -> None:
        if down and step_of(writes) == "a":
            raise Down

    @action
    async def work(a: Any) -> Any:
        return a

    saver = GatedSaver(refuse)
    plan = make_plan(
        {"id": "a", "action": "work", "inputs": {"a": 1}},
        {"id": "b", "action": "work", "for_each": [1, 2], "inputs": {"a": "${item}"}, "after": ["a"]},
        {"id": "c", "action": "work", "inputs": {"a": "${b}"}},
    )
    with pytest.raises(Down):
        await Runner(work, saver=saver, limits=Limits(concurrency=1)).run(plan)
    down = False
    result = await Runner(work, saver=saver).run(plan)

    assert ({"result": [1, 2]}, True) == (result.outputs, result.ok)


async def test_the_intent_of_an_action_that_must_not_run_twice_is_stored_before_it_runs() -> None:
    """And a run that is cancelled meanwhile does not run it any more."""
    gate, began = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    async def hold() -> None:
        began.set()
        await gate.wait()

    @action(idempotent="no", effect="external")
    async def pay() -> int:
        ran.append(1)
        return 1

    saver = GatedSaver(lambda writes: hold() if any("intent" in value for _, value in writes) else None)
    runner = Runner(pay, saver=saver)
    async with asyncio.timeout(20):
        run = asyncio.create_task(runner.run(make_plan({"id": "p", "action": "pay"})))
        await began.wait()
        assert [] == ran
        runner.executor.cancel("run-1")
        gate.set()
        result = await run

    assert ([], "cancelled") == (ran, result.status)


async def test_an_action_that_ignores_its_cancellation_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends after the time that actions have to clean up."""
    monkeypatch.setattr(planner.execution.attempt, "LINGER", 0.05)
    started, release = asyncio.Event(), asyncio.Event()

    @action
    async def stubborn() -> int:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return 1

    runner = Runner(stubborn)
    async with asyncio.timeout(20):
        run = asyncio.create_task(runner.run(make_plan({"id": "s", "action": "stubborn"})))
        await started.wait()
        runner.executor.cancel("run-1")
        result = await run

    assert ("cancelled", "cancelled") == (result.status, result.outcomes["s"].status)
    release.set()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))


async def test_cancelling_while_a_large_plan_is_checked_runs_nothing() -> None:
    """It is checked in a thread, so there is a moment before the run begins."""
    ran: list[int] = []

    @action
    async def work() -> int:
        ran.append(1)
        return 1

    plan = make_plan(*({"id": f"s{at}", "action": "work"} for at in range(600)))
    async with open_service(work, saver=InMemorySaver(), policy=ALONE) as service, asyncio.timeout(20):
        starting = asyncio.create_task(service.start(request_of(plan)))
        while not service._executor.cancel("r"):
            await loop_turn()
        result = await (await starting).wait()

    assert ([], "cancelled") == (ran, result.status)


async def test_reports_from_threads_are_numbered_without_gaps_and_in_order() -> None:
    """Synchronous actions run in threads, and so do their reports."""
    barrier = threading.Barrier(4)

    @action
    def work(ctx: ActionContext, name: int) -> int:
        barrier.wait(10)
        for at in range(50):
            ctx.report(at / 50, f"{name}")
        return name

    runner = Runner(work)
    plan = make_plan(*({"id": f"w{at}", "action": "work", "inputs": {"name": at}} for at in range(4)))
    assert (await runner.run(plan)).ok

    assert list(range(1, len(runner.events) + 1)) == [event.seq for event in runner.events]
    assert 200 == runner.phases().count("step_progress")


async def test_on_complete_is_called_also_when_an_action_raises_what_none_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A `BaseException` breaks the run, as a crash does; after a few times it ends, and its caller hears of it."""
    monkeypatch.setattr("planner.execution.interruption.BACK_IN", 0.01)
    monkeypatch.setattr("planner.runs.driving.UNAVAILABLE", 0.02)

    class Odd(BaseException):
        pass

    @action
    async def odd() -> int:
        raise Odd("odd")

    seen: list[Any] = []
    async with open_service(odd, policy=ALONE) as service, asyncio.timeout(20):
        plan = make_plan({"id": "o", "action": "odd"})
        result = await (await service.start(request_of(plan), seen.append)).wait()

    assert ("failed", [result], "Odd: odd") == (result.status, seen, result.errors[0].error)


async def test_a_second_caller_s_callback_is_called_too() -> None:
    """The same id is the same run."""
    release = asyncio.Event()

    @action
    async def hold() -> int:
        await release.wait()
        return 1

    seen: list[str] = []
    async with open_service(hold, policy=ALONE) as service:
        request = request_of(make_plan({"id": "h", "action": "hold"}))
        first = await service.start(request, lambda _: seen.append("first"))
        assert first is await service.start(request, lambda _: seen.append("second"))
        release.set()
        await first.wait()

    assert ["first", "second"] == seen


async def test_a_store_that_hangs_does_not_hold_a_run_that_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace it is ended by force, and the result says so."""
    monkeypatch.setattr("planner.execution.state.ABORT_AFTER", 0.02)
    began, answer = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        began.set()
        await answer.wait()

    @action
    async def work() -> int:
        return 1

    runner = Runner(work, saver=GatedSaver(lambda writes: hang() if step_of(writes) == "s" else None))
    async with asyncio.timeout(20):
        run = asyncio.create_task(runner.run(make_plan({"id": "s", "action": "work"})))
        await began.wait()
        runner.executor.cancel("run-1")
        result = await run

    assert "cancelled" == result.status
    assert "did not answer" in (result.errors[0].error or "")
    answer.set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=10)


async def test_a_listener_that_hangs_or_is_cancelled_does_not_hold_the_run() -> None:
    """What it did not take is dropped, with a warning."""

    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    async def cancelled(_: Any) -> None:
        raise asyncio.CancelledError

    @action
    async def work() -> int:
        return 1

    executor = PlanExecutor(ActionCatalog([work]), limits=Limits(grace=timedelta(milliseconds=20)))
    plan = make_plan({"id": "s", "action": "work"})
    async with asyncio.timeout(20):
        for listener in (hang, cancelled):
            assert (await executor.execute(RunRequest(plan=plan, context=RunContext(run_id="r"), on_event=listener))).ok


def test_a_bound_of_nothing_is_refused() -> None:
    """At 0 a run would wait for ever."""
    for name in ("concurrency", "window", "steps"):
        with pytest.raises(ValueError, match=name):
            Limits(**cast("Any", {name: 0}))


async def test_a_run_that_takes_its_time_to_be_recorded_as_stopped_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The writes together take longer than the patience with a store that does not answer, but each is an event."""
    monkeypatch.setattr("planner.execution.state.ABORT_AFTER", 2.0)
    started = asyncio.Event()

    async def slow_store() -> None:
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.8)

    @action
    async def hang() -> int:
        started.set()
        await asyncio.Event().wait()
        return 0

    saver = GatedSaver(lambda writes: slow_store() if step_of(writes) else None)
    steps = [{"id": f"s{at}", "action": "hang", "after": [f"s{at - 1}"] if at else []} for at in range(4)]
    runner = Runner(hang, saver=saver)
    async with asyncio.timeout(60):
        run = asyncio.create_task(runner.run(make_plan(*steps)))
        await started.wait()
        runner.executor.cancel("run-1")
        result = await run

    assert ("cancelled", 4) == (result.status, len(result.outcomes))
