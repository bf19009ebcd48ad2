"""Which due runs a process takes up: those that it can run, as many as it has room for, and none of a newer version."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from planner.catalog import action
from planner.execution import RunStores
from planner.runs import RunService
from storage.errors import StorageUnavailable
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Change, Value
from tests.support.eventually import eventually
from tests.support.run_services import BRISK, LOCAL, memory_stores, new_service, open_service, request_of
from tests.support.running import make_plan

SLOW = replace(BRISK, sweep=60.0)
"""Looks only when it is asked to."""
CALLED: list[str] = []


@action
async def work(name: str) -> str:
    CALLED.append(name)
    return name


@action
async def hold() -> int:
    CALLED.append("hold")
    await asyncio.Event().wait()
    return 0


@action
async def ask() -> Any:
    return interrupt("how many?")


ACTIONS = (work, hold, ask)
HOLD = make_plan({"id": "h", "action": "hold"})
ASKS_AFTER = make_plan(
    {"id": "a", "action": "work", "inputs": {"name": "a"}},
    {"id": "q", "action": "ask", "after": ["a"]},
    {"id": "b", "action": "work", "inputs": {"name": "b"}, "after": ["q"]},
)


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


@pytest.fixture
async def stores() -> RunStores:
    return memory_stores()


@pytest.fixture
async def slow(stores: RunStores) -> AsyncIterator[RunService]:
    async with open_service(*ACTIONS, stores=stores, saver=InMemorySaver(), policy=SLOW) as service:
        async with asyncio.timeout(20):
            yield service


async def test_no_more_runs_are_taken_up_than_there_are_slots(stores: RunStores) -> None:
    """The rest stays due, for others."""
    policy = replace(SLOW, slots=2)
    async with (
        open_service(*ACTIONS, stores=stores, saver=InMemorySaver(), policy=policy) as service,
        asyncio.timeout(20),
    ):
        await service.recover()
        for at in range(5):
            await service.log.submit(request_of(HOLD, f"r{at}"))
        await service.recover()

        async def working() -> bool:
            return CALLED == ["hold", "hold"]

        await eventually(working, "two runs")

        assert 0 == await service.recover()
        assert 3 == len(await stores.live.due())


async def test_a_record_that_cannot_be_read_keeps_no_other_run_from_being_found(
    slow: RunService, stores: RunStores
) -> None:
    await slow.log.submit(request_of(ASKS_AFTER, "broken"))
    await slow.log.submit(request_of(ASKS_AFTER, "fine"))
    found = await stores.records.latest("run", "broken")
    assert found is not None
    bad = Change(kind="run", owner="broken", at=found.at, fields={"start": Value("msgpack", b"\xc1")})
    await stores.records.append(bad)

    await slow.recover()

    assert "waiting" == (await (await slow.get("fine", LOCAL)).wait()).status
    assert ["a"] == CALLED


async def test_a_run_that_only_a_newer_version_can_read_is_left_to_it(
    slow: RunService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often an older one tries, the run has not failed; the newer one goes on with it."""
    monkeypatch.setattr("planner.execution.interruption.LEFT_ALONE", 0.0)
    caplog.set_level("INFO")
    newer = pytest.MonkeyPatch()
    newer.setattr("planner.execution.outcome.RECORD_VERSION", 2)
    newer.setattr("planner.execution.history.RECORD_VERSION", 2)
    try:
        assert "waiting" == (await (await slow.start(request_of(ASKS_AFTER))).wait()).status
    finally:
        newer.undo()
    await slow.answer("r", 1, identity=LOCAL)
    for _ in range(8):
        await slow.driver.advance("r")
    assert ("waiting", ["a"]) == ((await slow.record("r", LOCAL)).status, CALLED)
    assert "newer version" in caplog.text
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr("planner.execution.outcome.RECORD_VERSION", 2)
        newer.setattr("planner.execution.history.RECORD_VERSION", 2)
        await slow.driver.advance("r")
        result = await (await slow.get("r", LOCAL)).wait()

    assert (True, ["a", "b"]) == (result.ok, CALLED)


async def test_closing_tells_whoever_waits_in_the_foreground_that_the_run_goes_on() -> None:
    service = new_service(*ACTIONS, saver=InMemorySaver())
    call = asyncio.create_task(service.execute(request_of(HOLD)))

    async def working() -> bool:
        return CALLED == ["hold"]

    await eventually(working, "the action")
    async with asyncio.timeout(10):
        await service.aclose()
        result = await call

    assert ("running", False) == (result.status, result.ok)
    assert "HandedBack" in (result.errors[0].error or "")


async def test_a_store_that_is_away_for_a_while_keeps_nobody_from_looking_again() -> None:
    """The sweeper goes on, and what was due is found when the store is back."""

    class Away(MemoryRuns):
        looks = 0

        async def due(self, limit: int = 1000, skip: int = 0) -> Any:
            self.looks += 1
            if self.looks < 4:
                raise StorageUnavailable("away")
            return await super().due(limit, skip)

    records = MemoryRecords()
    live = Away(records)
    stores = RunStores(records=records, live=live, renewer=live.renewer)
    async with open_service(*ACTIONS, stores=stores, saver=InMemorySaver()) as service, asyncio.timeout(20):
        await service.log.submit(request_of(ASKS_AFTER))
        await service.open()

        async def waiting() -> bool:
            return (await service.record("r", LOCAL)).status == "waiting"

        await eventually(waiting, "the question")
        assert live.looks >= 4
