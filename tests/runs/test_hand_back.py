"""Runs are given back: whole, once, and also when the store was away; what renews their leases outlives mishaps."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionCatalog, action
from planner.errors import RunNotRecorded
from planner.execution import PlanExecutor, RunStores, run_writer
from planner.execution.keeper import Hold, LeaseKeeper
from planner.runs import RunPolicy
from storage.errors import StorageUnavailable
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.runs import Claim, Ended, Granted, Kept, LeaseState, Refused, Update
from tests.support.eventually import eventually
from tests.support.run_services import LOCAL, new_service, open_service, request_of
from tests.support.run_stores import new_run
from tests.support.running import make_plan

SHORT = RunPolicy(lease=0.6, sweep=0.05, grace=0.0)
LONG = replace(SHORT, lease=30.0)
CLAIM = Claim(holder="other", seconds=30.0)
STEP = make_plan({"id": "s", "action": "step"})
GATES: list[asyncio.Event] = []


@action
async def step() -> int:
    GATES.append(asyncio.Event())
    await GATES[-1].wait()
    return 1


@action
async def work() -> int:
    return 1


class Stop(BaseException):
    """What no action should raise."""


@action
async def stop() -> int:
    GATES.append(asyncio.Event())
    await GATES[-1].wait()
    raise Stop


class Disturbed(MemoryRuns):
    """Runs whose store is away, or loses answers, as a test says."""

    def __init__(self) -> None:
        self.records = MemoryRecords()
        super().__init__(self.records)
        self.away = False
        self.ends_refused = 0
        """How many times the end of a run is not taken."""
        self.answers: asyncio.Event | None = None
        """What the holder of a run writes is done at once, and answered when this is set."""
        self.entered: list[Granted] = []
        self.renewed: list[Mapping[str, int]] = []
        self.mishaps: list[BaseException] = []
        """Raised by renewals."""
        self.written: list[Update] = []

    async def enter(self, run_id: str, claim: Claim | None, **parts: Any) -> Granted | Refused:
        self._reach()
        answer = await super().enter(run_id, claim, **parts)
        if isinstance(answer, Granted):
            self.entered.append(answer)
        return answer

    async def renew(self, held: Mapping[str, int], seconds: float) -> Mapping[str, LeaseState]:
        self._reach()
        self.renewed.append(held)
        if self.mishaps:
            raise self.mishaps.pop()
        return await super().renew(held, seconds)

    async def update(self, run_id: str, token: int, update: Update) -> int:
        self._reach()
        if isinstance(update.then, Ended) and self.ends_refused:
            self.ends_refused -= 1
            raise StorageUnavailable("a moment")
        seq = await super().update(run_id, token, update)
        self.written.append(update)
        if isinstance(update.then, Kept) and self.answers is not None:
            await self.answers.wait()
        return seq

    async def due(self, *args: Any, **parts: Any) -> Sequence[str]:
        self._reach()
        return await super().due(*args, **parts)

    @property
    def stores(self) -> RunStores:
        return RunStores(records=self.records, live=self, renewer=self.renewer)

    async def phases(self) -> list[str]:
        return [entry.columns["phase"] for entry in await self.records.read("event", "r")]

    @property
    def held(self) -> bool:
        return self._controls["r"].until is not None

    def _reach(self) -> None:
        if self.away:
            raise StorageUnavailable("it is away")


class Deaf(MemoryRuns):
    """Renews the leases of other runs, and takes nothing back."""

    def __init__(self, runs: MemoryRuns) -> None:
        super().__init__(MemoryRecords())
        self.runs = runs

    async def renew(self, held: Mapping[str, int], seconds: float) -> Mapping[str, LeaseState]:
        return await self.runs.renew(held, seconds)

    async def update(self, run_id: str, token: int, update: Update) -> int:
        raise StorageUnavailable("it takes nothing")


@pytest.fixture
async def live() -> AsyncIterator[Disturbed]:
    GATES.clear()
    async with asyncio.timeout(20):
        yield Disturbed()


async def until(fact: Any, what: str) -> None:
    async def look() -> bool:
        return bool(fact())

    await eventually(look, what)


async def test_an_outage_is_no_crash(live: Disturbed) -> None:
    """The lease was lost meanwhile; before the run is entered anew the store hears that nobody died."""
    stores = replace(live.stores, renewer=Deaf(live).renewer)
    async with open_service(step, saver=InMemorySaver(), stores=stores, policy=SHORT) as service:
        await service.start(request_of(STEP))
        await until(lambda: GATES, "the step works")
        live.away = True
        await until(lambda: not service.log.keeper.held, "the run is given back")
        live.away = False
        await until(lambda: len(GATES) == 2, "the step works again")

    assert {granted.crashes for granted in live.entered} == {0}


async def test_a_run_that_could_not_be_given_back_is_given_back_later(live: Disturbed) -> None:
    """Also to others, when this process does not enter it again."""
    executor = PlanExecutor(ActionCatalog([stop]), InMemorySaver(), stores=live.stores, lease=1.0)
    run = asyncio.create_task(executor.execute(request_of(make_plan({"id": "s", "action": "stop"}))))
    try:
        await until(lambda: GATES, "the step works")
        live.away = True
        GATES[0].set()
        await asyncio.wait({run})
        assert isinstance(run.exception(), Stop)
        live.away = False
        await until(lambda: not live.held, "the run is given back")
    finally:
        executor.close()
    entered = await live.enter("r", CLAIM)
    assert isinstance(entered, Granted)
    assert entered.crashes == 0


@pytest.mark.parametrize("more", [False, True], ids=["nothing more", "one event more"])
async def test_events_whose_answer_is_out_are_told_once_and_the_run_is_given_back(
    live: Disturbed, *, more: bool
) -> None:
    live.answers = asyncio.Event()
    service = new_service(step, saver=InMemorySaver(), stores=live.stores, policy=LONG)
    await service.start(request_of(STEP))
    await until(lambda: live.written, "the first events are written")
    told = ["start", "step_start"]
    if more:
        service._executor._active["r"].state.report("s", 0.5, "half")
        told.append("step_progress")
    await service.aclose()

    assert (await live.phases(), live.held) == (told, False)
    assert await live.due() == ["r"]


async def test_how_a_run_ended_is_told_once_although_its_end_could_not_be_stored_at_first(live: Disturbed) -> None:
    live.ends_refused = 1000
    saver, plan = InMemorySaver(), make_plan({"id": "s", "action": "work"})
    service = new_service(work, saver=saver, stores=live.stores, policy=LONG)
    await service.start(request_of(plan))
    await until(lambda: live.ends_refused < 1000, "the end is refused")
    await service.aclose()
    assert await live.phases() == ["start", "step_start", "step_success"]

    live.ends_refused = 0
    async with open_service(work, saver=saver, stores=live.stores, policy=LONG) as other:
        assert (await (await other.get("r", LOCAL)).wait()).ok
    phases = await live.phases()
    assert (phases.count("success"), phases[-1], phases.count("step_success")) == (1, "success", 1)


async def test_how_a_run_ended_is_stored_with_its_end(live: Disturbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little is stored together."""
    monkeypatch.setattr(run_writer, "TOGETHER", 1)
    async with open_service(work, saver=InMemorySaver(), stores=live.stores, policy=LONG) as service:
        await (await service.start(request_of(make_plan({"id": "s", "action": "work"})))).wait()

    *before, last = live.written
    assert isinstance(last.then, Ended)
    assert [event.columns["phase"] for event in last.events] == ["success"]
    assert before


async def test_counts_of_a_newer_version_are_left_out() -> None:
    kept = json.loads(run_writer.Spent(attempts=3).packed())

    read = run_writer.Spent.read(json.dumps({**kept, "replans": 1}).encode())

    assert read == run_writer.Spent(attempts=3)


async def test_a_run_beside_which_nothing_can_be_read_is_given_back(live: Disturbed) -> None:
    """Nobody died of it, so it is never poisoned."""
    executor = PlanExecutor(ActionCatalog([work]), InMemorySaver(), stores=live.stores)
    request = request_of(make_plan({"id": "s", "action": "work"}))
    assert executor.log is not None
    await executor.log.submit(request)
    live._controls["r"].spent = b"{"
    try:
        with pytest.raises(ValueError, match="Expecting"):
            await executor.execute(request)
    finally:
        executor.close()

    assert not live.held


async def test_a_process_that_can_have_no_further_thread_starts_no_run(
    live: Disturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does, once it can."""

    def full() -> asyncio.Runner:
        raise OSError(24, "too many open files")

    request = request_of(make_plan({"id": "s", "action": "work"}))
    executor = PlanExecutor(ActionCatalog([work]), InMemorySaver(), stores=live.stores)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("planner.execution.keeper.asyncio.Runner", full)
            with pytest.raises(RunNotRecorded, match="too many open files"):
                await executor.execute(request)
        assert live.records.newest("run", "r") is None
        assert (await executor.execute(request)).ok
    finally:
        executor.close()


async def test_leases_are_renewed_after_what_nobody_thought_of(live: Disturbed) -> None:
    keeper = LeaseKeeper(live.renewer, 0.3)
    await keeper.prepare("r", live)
    live.mishaps.append(ValueError("odd"))
    keep(keeper, await entered(live, "r"))
    try:
        await until(lambda: len(live.renewed) > 2, "it is renewed again")
    finally:
        keeper.close()


async def test_a_thread_that_has_ended_is_begun_anew_and_closed(
    live: Disturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    keeper = LeaseKeeper(live.renewer, 0.3)
    granted, threads = await entered(live, "r"), list[threading.Thread]()
    for _ in range(2):
        live.mishaps.append(SystemExit())
        await keeper.prepare("r", live)
        keep(keeper, granted)
        assert keeper._thread is not None
        threads.append(keeper._thread)
        await asyncio.to_thread(threads[-1].join, 5)
    keeper.close()

    assert [thread.is_alive() for thread in threads] == [False, False]
    assert threads[0] is not threads[1]


async def test_a_lease_that_is_lost_or_whose_loop_is_closed_is_not_renewed(live: Disturbed) -> None:
    keeper = LeaseKeeper(live.renewer, 30.0)

    async def hold(run_id: str) -> Hold:
        return keep(keeper, await entered(live, run_id))

    mine, lost = await hold("mine"), await hold("lost")
    await asyncio.to_thread(lambda: asyncio.run(hold("closed")))
    lost.lost = True

    await keeper._renew(live)

    assert live.renewed == [{"mine": mine.token}]


async def entered(live: Disturbed, run_id: str) -> Granted:
    answer = await live.enter(run_id, CLAIM, new=new_run(run_id))
    assert isinstance(answer, Granted)
    return answer


def keep(keeper: LeaseKeeper, granted: Granted) -> Hold:
    return keeper.hold(granted.state.owner, granted.token, monotonic(), lambda _: None)
