"""What bounds a run: sizes, budgets and deadlines that count on over a resume, and one end in every race."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy, interrupt

from planner.catalog import Cost, action
from planner.errors import RunEnded
from planner.execution import RunStores
from planner.limits import Limits
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.runs import ENDS, Ended, Update
from tests.support.eventually import eventually
from tests.support.run_services import BRISK, LOCAL, memory_stores, open_service, request_of
from tests.support.running import make_plan
from tests.support.savers import GatedSaver, step_of

CALLED: list[str] = []
MEGABYTE = 1_000_000


@action(cost=Cost(amount=3, tokens=10))
async def work(name: str) -> str:
    CALLED.append(name)
    return name


@action(cost=Cost(amount=3, tokens=10), retry=RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False))
async def shaky() -> str:
    CALLED.append("shaky")
    if CALLED.count("shaky") == 1:
        raise ConnectionError("once")
    return "done"


@action
async def ask() -> Any:
    return interrupt("how many?")


@action
async def large() -> str:
    return "x" * (200 * MEGABYTE)


@action
async def hold() -> int:
    CALLED.append("hold")
    await asyncio.Event().wait()
    return 0


ACTIONS = (work, shaky, ask, large, hold)
ASKS_BETWEEN = make_plan(
    {"id": "a", "action": "shaky"},
    {"id": "q", "action": "ask", "after": ["a"]},
    {"id": "b", "action": "work", "inputs": {"name": "b"}, "after": ["q"]},
)
ONE = make_plan({"id": "a", "action": "work", "inputs": {"name": "a"}})


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


async def test_a_result_of_two_hundred_megabytes_is_a_failure_of_its_step() -> None:
    """It never gets to the store, and the error names the limit."""
    async with open_service(*ACTIONS, saver=InMemorySaver()) as service, asyncio.timeout(20):
        handle = await service.start(request_of(make_plan({"id": "l", "action": "large"})))
        result = await handle.wait()
        record = await handle.refresh()

    assert ("failed", "LimitExceeded") == (result.status, result.outcomes["l"].error_type)
    assert "output_bytes" in (result.outcomes["l"].error or "")
    assert ("failed", "LimitExceeded") == (record.status, record.error_type)


@pytest.mark.parametrize(("limit", "most"), [("cost", 8), ("tokens", 25)])
async def test_a_budget_counts_on_in_another_process(limit: str, most: int) -> None:
    """The plan would fit, but for a retry before the question, which leaves too little for what comes after it."""
    stores, saver = memory_stores(), InMemorySaver()
    limits: Any = {limit: most}
    options: dict[str, Any] = {"stores": stores, "saver": saver, "limits": Limits(**limits)}
    async with open_service(*ACTIONS, **options) as one, asyncio.timeout(20):
        assert "waiting" == (await (await one.start(request_of(ASKS_BETWEEN))).wait()).status
    async with open_service(*ACTIONS, **options) as other, asyncio.timeout(20):
        handle = await other.get("r", LOCAL)
        await handle.answer(1)
        result = await handle.wait(end=True)
        record, events = await handle.refresh(), await other.access.runs.events("r", LOCAL)

    assert ("failed", "LimitExceeded", ["shaky"] * 2) == (result.status, result.outcomes["b"].error_type, CALLED)
    assert (6.0, 20) == (record.usage.amount, record.usage.tokens)
    assert list(range(1, len(events) + 1)) == [event.seq for event in events]


async def test_the_usage_of_all_lives_is_that_of_the_run() -> None:
    stores, saver = memory_stores(), InMemorySaver()
    async with open_service(*ACTIONS, stores=stores, saver=saver) as one, asyncio.timeout(20):
        waiting = await (await one.start(request_of(ASKS_BETWEEN))).wait()
    async with open_service(*ACTIONS, stores=stores, saver=saver) as other, asyncio.timeout(20):
        handle = await other.get("r", LOCAL)
        await handle.answer(1)
        result = await handle.wait(end=True)
        record = await handle.refresh()

    assert (9.0, 30, 3) == (record.usage.amount, record.usage.tokens, record.usage.steps)
    assert (9.0, 30) == (result.usage.amount, result.usage.tokens)
    assert record.usage.attempts >= 4
    assert record.usage.seconds > waiting.usage.seconds > 0


async def test_a_deadline_ends_a_run_like_a_failure() -> None:
    limits = Limits(run_timeout=timedelta(seconds=0.2))
    async with open_service(*ACTIONS, saver=InMemorySaver(), limits=limits) as service, asyncio.timeout(20):
        handle = await service.start(request_of(make_plan({"id": "h", "action": "hold"})))
        result = await handle.wait()
        record = await handle.refresh()

    assert ("failed", "failed", "limit") == (result.status, record.status, record.reason)
    assert "run_timeout" in " ".join(event.error or "" for event in result.errors)


class GatedRuns(MemoryRuns):
    """Holds up the call that ends a run."""

    def __init__(self, records: MemoryRecords) -> None:
        super().__init__(records)
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def update(self, run_id: str, token: int, update: Update) -> int:
        if isinstance(update.then, Ended):
            self.reached.set()
            await self.go_on.wait()
        return await super().update(run_id, token, update)


async def test_cancelling_a_run_whose_end_is_being_written_changes_nothing() -> None:
    """It has succeeded; whoever asks a moment later is told so."""
    records = MemoryRecords()
    live = GatedRuns(records)
    stores = RunStores(records=records, live=live, renewer=live.renewer)
    seen: list[str] = []
    async with open_service(*ACTIONS, saver=InMemorySaver(), stores=stores) as service, asyncio.timeout(20):
        handle = await service.start(request_of(ONE), lambda result: seen.append(result.status))
        await live.reached.wait()
        assert "asked" == await service.cancel("r", LOCAL)
        live.go_on.set()
        result = await handle.wait()
        with pytest.raises(RunEnded):
            await service.cancel("r", LOCAL)
        await one_end(service, "succeeded")

    assert ("succeeded", ["succeeded"]) == (result.status, seen)


async def test_cancelling_a_step_while_its_outcome_is_being_written_keeps_the_outcome() -> None:
    """What is committed is not taken back, and what comes after it does not begin."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    def gate(writes: Sequence[tuple[str, Any]]) -> Any:
        return wait() if step_of(writes) == "a" else None

    plan = make_plan(
        {"id": "a", "action": "work", "inputs": {"name": "a"}},
        {"id": "b", "action": "work", "inputs": {"name": "b"}, "after": ["a"]},
    )
    async with open_service(*ACTIONS, saver=GatedSaver(gate)) as service, asyncio.timeout(20):
        handle = await service.start(request_of(plan))
        await reached.wait()
        await service.cancel("r", LOCAL)
        go_on.set()
        result = await handle.wait()
        await one_end(service, "cancelled")

    assert {"a": "succeeded", "b": "skipped"} == {name: one.status for name, one in result.outcomes.items()}
    assert ["a"] == CALLED


@pytest.mark.parametrize("turns", range(0, 60, 6))
async def test_cancelling_at_any_moment_leaves_exactly_one_end(turns: int) -> None:
    """Whatever it is, the record, the events, the result and the callback agree on it."""
    seen: list[str] = []
    async with open_service(*ACTIONS, saver=InMemorySaver(), policy=BRISK) as service, asyncio.timeout(20):
        handle = await service.start(request_of(ONE), lambda result: seen.append(result.status))
        for _ in range(turns):
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turn.set_result, None)
            await turn
        handle.cancel()
        result = await handle.wait()
        await one_end(service, result.status)

    assert [result.status] == seen
    assert result.status in {"succeeded", "cancelled"}


async def one_end(service: Any, status: str) -> None:
    """Check that the run has ended once, and that nobody takes it up again."""

    async def ended() -> bool:
        return (await service.record("r", LOCAL)).ended

    await eventually(ended, "the end")
    await service.recover()
    record, events = await service.record("r", LOCAL), await service.access.runs.events("r", LOCAL)
    ends = [event.phase for event in events if event.phase in ("success", "failure", "cancelled")]

    assert (status, 1) == (record.status, len(ends))
    assert record.status in ENDS
    assert events[-1].phase == ends[0]
