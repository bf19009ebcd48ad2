"""A process whose lease ran out begins nothing, and takes that for no failure of what it would have begun."""

from collections.abc import Callable

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import RetryPolicy

from planner.catalog import ActionCatalog, action
from planner.errors import LeaseLost
from planner.execution import ExecutionResult, PlanExecutor
from planner.execution.keeper import Hold
from planner.plan import CandidatePlan
from tests.support.run_services import memory_stores, request_of
from tests.support.running import make_plan


class Clock:
    """Says whether a lease is alive."""

    def __init__(self) -> None:
        self.alive = True


@pytest.fixture
def lease(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(Hold, "alive", property(lambda hold: clock.alive))
    return clock


async def interrupted(lease: Clock, plan: CandidatePlan, *actions: Callable[..., object]) -> ExecutionResult:
    """Execute a plan until an action lets the lease run out, and again with another one."""
    executor = PlanExecutor(ActionCatalog(actions), InMemorySaver(), stores=memory_stores())
    with pytest.raises(LeaseLost):
        await executor.execute(request_of(plan))
    lease.alive = True
    return await executor.execute(request_of(plan))


async def test_no_further_attempt_is_made(lease: Clock) -> None:
    calls: list[bool] = []

    @action(retry=RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False, retry_on=Exception))
    async def flaky() -> str:
        calls.append(lease.alive)
        if len(calls) == 1:
            lease.alive = False
            raise ValueError
        return "done"

    result = await interrupted(lease, make_plan({"id": "s", "action": "flaky"}, outputs={"s": "${s}"}), flaky)

    assert result.outputs == {"s": "done"}
    assert calls == [True, True]


async def test_no_further_item_is_begun(lease: Clock) -> None:
    calls: list[int] = []

    @action(max_concurrency=1)
    async def work(value: int) -> int:
        calls.append(value)
        if len(calls) == 2:
            lease.alive = False
        return value

    step = {"id": "s", "action": "work", "for_each": [1, 2, 3, 4], "inputs": {"value": "${item}"}}
    result = await interrupted(lease, make_plan(step, outputs={"s": "${s}"}), work)

    assert result.outputs == {"s": [1, 2, 3, 4]}
    assert calls[:3] in ([1, 2, 3], [1, 2, 2])
    assert calls.count(4) == 1


async def test_no_undo_is_called_and_none_counts_as_failed(lease: Clock) -> None:
    calls: list[str] = []

    @action
    async def take_back() -> None:
        calls.append("take back")
        if calls.count("take back") == 1:
            lease.alive = False

    @action(undo="take_back")
    async def work() -> None:
        calls.append("work")

    @action
    async def fail() -> None:
        raise ValueError("it has to")

    plan = make_plan(
        {"id": "a", "action": "work"},
        {"id": "b", "action": "work", "after": ["a"]},
        {"id": "c", "action": "work", "after": ["b"]},
        {"id": "end", "action": "fail", "after": ["c"]},
    )
    result = await interrupted(lease, plan, take_back, work, fail)

    assert calls.count("work") == 3
    assert result.status == "failed"
    assert {undo.status for undo in result.compensation.values()} == {"undone"}
    assert 3 <= calls.count("take back") <= 4
