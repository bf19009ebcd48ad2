"""Runs in the background: handles, callbacks, and cancelling."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from planner.catalog import ActionCatalog, action
from planner.errors import PlannerClosed, RunConflict
from planner.execution import ExecutionResult, PlanExecutor
from planner.runs import RunService
from tests.support.run_services import ALONE, LOCAL, new_service, open_service, request_of
from tests.support.running import loop_turn, make_plan
from tests.support.savers import GatedSaver


@action
async def echo(a: Any) -> Any:
    return a


@action
async def hang() -> int:
    await asyncio.Event().wait()
    return 0


@pytest.fixture
async def runs() -> AsyncIterator[RunService]:
    async with open_service(echo, hang, saver=InMemorySaver(), policy=ALONE) as service:
        yield service


@action
async def question() -> Any:
    return interrupt("how many?")


GOOD = make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}})
HANGING = make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}}, {"id": "h", "action": "hang"})


async def test_the_handle_tells_the_run_and_waits_for_it(runs: RunService) -> None:
    """`wait` returns after `on_complete` was awaited."""
    seen: list[ExecutionResult] = []

    async def completed(result: ExecutionResult) -> None:
        await loop_turn()
        seen.append(result)

    handle = await runs.start(request_of(GOOD), completed)
    assert ("r", GOOD.id, False) == (handle.id, handle.plan_id, handle.done())
    result = await handle.wait()

    assert [result] == seen
    assert (True, False, "succeeded") == (handle.done(), handle.cancelled(), handle.status())


async def test_on_complete_is_called_once_for_a_cancelled_run(runs: RunService) -> None:
    """A26: also when it is cancelled before it began."""
    seen: list[ExecutionResult] = []
    started = asyncio.Event()

    def listen(event: Any) -> None:
        if event.step_id == "h":
            started.set()

    early = await runs.start(request_of(HANGING, "early"), seen.append)
    assert early.cancel()
    assert "cancelled" == (await early.wait()).status

    late = await runs.start(request_of(HANGING, "late", on_event=listen), seen.append)
    async with asyncio.timeout(10):
        await started.wait()
        assert late.cancel()
        result = await late.wait()

    assert ["cancelled", "cancelled"] == [one.status for one in seen]
    assert {"e": "succeeded", "h": "cancelled"} == {name: one.status for name, one in result.outcomes.items()}
    assert late.cancelled()
    assert not late.cancel()


async def test_a_failing_callback_is_logged_and_recorded_and_changes_nothing(
    runs: RunService, caplog: pytest.LogCaptureFixture
) -> None:
    """A27."""

    def broken(_: ExecutionResult) -> None:
        raise RuntimeError("callback")

    handle = await runs.start(request_of(GOOD), broken)

    assert (await handle.wait()).ok
    assert "callback" == str(handle.callback_error)
    assert "on_complete of run r failed" in caplog.text


async def test_the_same_id_is_the_same_run(runs: RunService) -> None:
    """With another plan it is a conflict; after the run, the saver still knows it."""
    one = await runs.start(request_of(GOOD))
    two = await runs.start(request_of(GOOD))
    assert one is two
    with pytest.raises(RunConflict):
        await runs.start(request_of(HANGING))
    await one.wait()
    del one, two
    again = await (await runs.start(request_of(GOOD))).wait()
    assert again.ok


async def test_a_store_that_fails_again_and_again_ends_the_run_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried a few times first; its caller hears only of the end, through the result and `on_complete`."""
    monkeypatch.setattr("planner.execution.interruption.BACK_IN", 0.01)
    monkeypatch.setattr("planner.runs.driving.UNAVAILABLE", 0.02)
    tries: list[int] = []

    def refuse(_: Any) -> None:
        tries.append(1)
        raise ConnectionError("store down")

    seen: list[ExecutionResult] = []
    async with open_service(echo, saver=GatedSaver(refuse), policy=ALONE) as service:
        async with asyncio.timeout(20):
            result = await (await service.start(request_of(GOOD), seen.append)).wait()
        record = await service.record("r", LOCAL)

    assert ("failed", "failed", [result], True) == (record.status, result.status, seen, len(tries) >= 5)
    assert ["ConnectionError: store down"] == [event.error for event in result.errors]


async def test_a_run_whose_store_fails_for_a_moment_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given back, stays `running`, and nobody is told that it has failed."""
    monkeypatch.setattr("planner.execution.interruption.BACK_IN", 0.01)
    monkeypatch.setattr("planner.runs.driving.UNAVAILABLE", 0.02)
    down, seen, statuses = [True], list[ExecutionResult](), list[str]()

    async def refuse() -> None:
        statuses.append((await service.record("r", LOCAL)).status)
        if down:
            down.pop()
            raise ConnectionError("store down")

    async with open_service(echo, saver=GatedSaver(lambda _: refuse()), policy=ALONE) as service:
        async with asyncio.timeout(20):
            result = await (await service.start(request_of(GOOD), seen.append)).wait()

    assert (True, [result], {"running"}) == (result.ok, seen, set(statuses))


async def test_a_cancelled_run_does_not_run_its_steps_again(runs: RunService) -> None:
    """Its outcomes are recorded, so running it again returns them."""
    started = asyncio.Event()
    handle = await runs.start(
        request_of(HANGING, on_event=lambda event: started.set() if event.step_id == "h" else None), None
    )
    async with asyncio.timeout(10):
        await started.wait()
        handle.cancel()
        await handle.wait()
        del handle
        again = await (await runs.start(request_of(HANGING))).wait()

    assert "cancelled" == again.status


async def test_cancelling_the_caller_stops_the_actions_and_leaves_no_task() -> None:
    """The call raises `CancelledError` after they have stopped."""
    stopped, started = asyncio.Event(), asyncio.Event()

    @action
    async def work() -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return 0

    executor = PlanExecutor(ActionCatalog([work]))
    call = asyncio.create_task(executor.execute(request_of(make_plan({"id": "w", "action": "work"}))))
    async with asyncio.timeout(10):
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert stopped.is_set()


async def test_closing_cancels_what_is_under_way() -> None:
    """Nothing is left running."""
    service = new_service(hang, policy=ALONE)
    handle = await service.start(request_of(make_plan({"id": "h", "action": "hang"})))
    async with asyncio.timeout(10):
        await service.aclose()

    assert handle.cancelled()


async def test_closing_leaves_runs_that_a_store_keeps_to_others() -> None:
    """They are `running` and due; the handle says so, and no callback is told of an end that is none."""
    seen: list[ExecutionResult] = []
    service = new_service(hang, saver=InMemorySaver())
    handle = await service.start(request_of(make_plan({"id": "h", "action": "hang"})), seen.append)
    async with asyncio.timeout(10):
        await service.aclose()
    result = await handle.wait()

    assert ("running", [], False) == (result.status, seen, handle.cancelled())
    assert "HandedBack" in (result.errors[0].error or "")
    assert "running" == await status_of(service, "r")
    assert ["r"] == list(await service.log.stores.live.due())


async def test_closing_ends_also_a_run_that_waits_or_that_nobody_waits_for() -> None:
    """The first asks a person, and the second was begun by `retry`, whose handle nobody follows."""
    service = new_service(question, hang, saver=InMemorySaver(), policy=ALONE)
    asking = await service.start(request_of(make_plan({"id": "q", "action": "question"})))
    assert "waiting" == (await asking.wait()).status
    cancelled = await service.start(request_of(make_plan({"id": "h", "action": "hang"}), "s"))
    cancelled.cancel()
    await cancelled.wait()
    await service.retry("s", identity=LOCAL)
    async with asyncio.timeout(10):
        await service.aclose()

    assert asking.cancelled()
    assert "cancelled" == await status_of(service, "s")


async def status_of(closed: RunService, run_id: str) -> str:
    """Ask the store itself: a service that was closed says nothing any more."""
    with pytest.raises(PlannerClosed):
        await closed.record(run_id, LOCAL)
    entry = await closed.log.stores.records.latest("run", run_id)
    assert entry is not None
    return entry.columns["status"]
