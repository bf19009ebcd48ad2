"""Runs in the background: handles, callbacks, and cancelling."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionCatalog, action
from planner.context import RunContext
from planner.errors import RunConflict
from planner.execution import BackgroundRuns, ExecutionResult, PlanExecutor, RunRequest
from tests.support.running import loop_turn, make_plan


@action
async def echo(a: Any) -> Any:
    return a


@action
async def hang() -> int:
    await asyncio.Event().wait()
    return 0


def _request(plan: Any, run_id: str = "r", **options: Any) -> RunRequest:
    return RunRequest(plan=plan, context=RunContext(run_id=run_id), **options)


@pytest.fixture
async def runs() -> Any:
    background = BackgroundRuns(PlanExecutor(ActionCatalog([echo, hang]), InMemorySaver()))
    yield background
    await background.close()


GOOD = make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}})
HANGING = make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}}, {"id": "h", "action": "hang"})


async def test_the_handle_tells_the_run_and_waits_for_it(runs: BackgroundRuns) -> None:
    """`wait` returns after `on_complete` was awaited."""
    seen: list[ExecutionResult] = []

    async def completed(result: ExecutionResult) -> None:
        await loop_turn()
        seen.append(result)

    handle = runs.start(_request(GOOD), completed)
    assert ("r", GOOD.id, False) == (handle.id, handle.plan_id, handle.done())
    result = await handle.wait()

    assert [result] == seen
    assert (True, False, "succeeded") == (handle.done(), handle.cancelled(), handle.status())


async def test_on_complete_is_called_once_for_a_cancelled_run(runs: BackgroundRuns) -> None:
    """A26: also when it is cancelled before it began."""
    seen: list[ExecutionResult] = []
    started = asyncio.Event()

    def listen(event: Any) -> None:
        if event.step_id == "h":
            started.set()

    early = runs.start(_request(HANGING, "early"), seen.append)
    assert early.cancel()
    assert "cancelled" == (await early.wait()).status

    late = runs.start(_request(HANGING, "late", on_event=listen), seen.append)
    async with asyncio.timeout(10):
        await started.wait()
        assert late.cancel()
        result = await late.wait()

    assert ["cancelled", "cancelled"] == [one.status for one in seen]
    assert {"e": "succeeded", "h": "cancelled"} == {name: one.status for name, one in result.outcomes.items()}
    assert late.cancelled()
    assert not late.cancel()


async def test_a_failing_callback_is_logged_and_recorded_and_changes_nothing(
    runs: BackgroundRuns, caplog: pytest.LogCaptureFixture
) -> None:
    """A27."""

    def broken(_: ExecutionResult) -> None:
        raise RuntimeError("callback")

    handle = runs.start(_request(GOOD), broken)

    assert (await handle.wait()).ok
    assert "callback" == str(handle.callback_error)
    assert "on_complete of run r failed" in caplog.text


async def test_the_same_id_is_the_same_run(runs: BackgroundRuns) -> None:
    """With another plan it is a conflict; after the run, the saver still knows it."""
    one = runs.start(_request(GOOD), None)
    two = runs.start(_request(GOOD), None)
    assert one is two
    with pytest.raises(RunConflict):
        runs.start(_request(HANGING), None)
    await one.wait()
    del one, two
    again = await runs.start(_request(GOOD), None).wait()
    assert again.ok


async def test_a_store_that_fails_ends_the_run_as_failed() -> None:
    """Its caller hears of it through the result and `on_complete`."""
    from tests.support.savers import GatedSaver

    def refuse(_: Any) -> None:
        raise ConnectionError("store down")

    seen: list[ExecutionResult] = []
    background = BackgroundRuns(PlanExecutor(ActionCatalog([echo]), GatedSaver(refuse)))
    result = await background.start(_request(GOOD), seen.append).wait()

    assert ("failed", [result]) == (result.status, seen)
    assert "ConnectionError: store down" == result.errors[0].error


async def test_a_cancelled_run_does_not_run_its_steps_again(runs: BackgroundRuns) -> None:
    """Its outcomes are recorded, so running it again returns them."""
    started = asyncio.Event()
    handle = runs.start(_request(HANGING, on_event=lambda event: started.set() if event.step_id == "h" else None), None)
    async with asyncio.timeout(10):
        await started.wait()
        handle.cancel()
        await handle.wait()
        del handle
        again = await runs.start(_request(HANGING), None).wait()

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
    call = asyncio.create_task(executor.execute(_request(make_plan({"id": "w", "action": "work"}))))
    async with asyncio.timeout(10):
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert stopped.is_set()


async def test_closing_cancels_what_is_under_way() -> None:
    """Nothing is left running."""
    background = BackgroundRuns(PlanExecutor(ActionCatalog([hang])))
    handle = background.start(_request(make_plan({"id": "h", "action": "hang"})), None)
    async with asyncio.timeout(10):
        await background.close()

    assert handle.cancelled()
