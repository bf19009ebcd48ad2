"""Runs that a process must not touch, must not end, or cannot run: ended ones, other people's, and foreign ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import SecretStr

from planner.catalog import Approval, action
from planner.context import RequestIdentity
from planner.errors import LeaseLost, PlannerClosed, RunConflict, RunNotFound, TooManyRuns
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult, RunEvent, RunStores
from planner.limits import Limits
from planner.runs import RunPolicy, RunService
from planner.runs.driving import Relay
from storage.errors import ArchiveUnavailable, NewerRecord
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Entry, Kind
from tests.support.eventually import eventually
from tests.support.run_services import BRISK, LOCAL, memory_stores, new_service, open_service, request_of
from tests.support.running import make_plan

SLOW = replace(BRISK, sweep=60.0)
IDLE = replace(BRISK, advance=False)
CALLED: list[str] = []
HEARD: list[tuple[str, str]] = []
EVE = RequestIdentity(user_id="eve", org_id="elsewhere")


@action
async def echo(a: Any) -> Any:
    return a


@action
async def fail_once() -> int:
    CALLED.append("fail_once")
    if CALLED.count("fail_once") == 1:
        raise ValueError("not yet")
    return 1


@action
async def hold(key: Any = None) -> int:
    CALLED.append("hold")
    await asyncio.Event().wait()
    return 0


@action
async def ask() -> Any:
    return interrupt("how many?")


@action(approval=Approval(roles=("boss",)))
async def pay() -> int:
    return 1


ACTIONS = (echo, fail_once, hold, ask, pay)
ECHO = make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}})
FAILS = make_plan({"id": "f", "action": "fail_once"})
HOLDS = make_plan({"id": "h", "action": "hold"})
ASKS = make_plan({"id": "q", "action": "ask"})
SECRET = make_plan({"id": "h", "action": "hold", "inputs": {"key": "${user.key}"}})


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.runs.notifier.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("planner.runs.notifier.LET_OTHERS", 0.02)
    CALLED.clear()
    HEARD.clear()


@pytest.fixture
async def stores() -> RunStores:
    return memory_stores()


@pytest.fixture
async def saver() -> InMemorySaver:
    return InMemorySaver()


async def ended(service: RunService, run_id: str = "r") -> str:
    async def look() -> str | None:
        record = await service.record(run_id, LOCAL)
        return record.status if record.ended else None

    return await eventually(look, "the end") or ""


async def test_what_is_told_of_an_end_does_not_take_up_a_run_that_was_begun_anew(
    stores: RunStores, saver: InMemorySaver
) -> None:
    """The callback of the first end is late: it waits for the second, which costs it no attempt."""

    async def heard(result: ExecutionResult) -> None:
        HEARD.append((result.run_id, result.status))
        if len(HEARD) == 1:
            raise ConnectionError("not yet")

    limits = Limits(callback_timeout=timedelta(seconds=1))
    options: dict[str, Any] = {"stores": stores, "saver": saver, "policy": IDLE, "limits": limits}
    async with open_service(*ACTIONS, **options, callbacks={"heard": heard}) as service, asyncio.timeout(20):
        await service.driver.settle(request_of(FAILS), here=True)
        await stores.live.add("r", "heard")
        await service.notifier.deliver()
        await eventually(lambda: has(1), "the first delivery")
        before = await service.access.any("r")
        await service.retry("r", identity=LOCAL)
        await service.notifier.deliver()
        await eventually(lambda: idle(service), "the second delivery")
        assert before is not None
        late = await service.access.outcome(before)

        assert ("failed", ["fail_once"], 1) == (late.status, CALLED, len(HEARD))
        assert "pending" == (await service.record("r", LOCAL)).status
        assert "pending" == (await service.access.result("r")).status
        await service.driver.advance("r")

        async def twice() -> bool:
            await service.notifier.deliver()
            return len(HEARD) == 2

        await eventually(twice, "the second end")

    assert [("r", "failed"), ("r", "succeeded")] == HEARD


async def has(number: int) -> bool:
    return len(HEARD) >= number


async def idle(service: RunService) -> bool:
    return not service.notifier._delivering


async def test_a_callback_of_a_deleted_run_that_nobody_has_is_given_up(stores: RunStores) -> None:
    async with open_service(*ACTIONS, stores=stores) as service, asyncio.timeout(20):
        await stores.live.add("gone", "nobody")
        service.notifier.start()

        async def dead() -> Sequence[Any]:
            return await stores.live.dead()

        (call,) = await eventually(dead, "a dead letter")

    assert ("gone", "nobody") == (call.run_id, call.target)


async def test_nobody_is_called_back_about_somebody_elses_run(stores: RunStores, saver: InMemorySaver) -> None:
    async with open_service(*ACTIONS, stores=stores, saver=saver, policy=IDLE) as service, asyncio.timeout(20):
        await service.log.submit(request_of(HOLDS))
        await service._call_back(request_of(HOLDS, identity=EVE), ["spy"])
        await service._call_back(request_of(HOLDS), ["mine"])
        await service.cancel("r", LOCAL)
        calls = await stores.live.claim(10, 1)

    assert ["mine"] == [call.target for call in calls]


async def test_cancelling_a_run_does_not_stop_that_of_another_owner_who_asks_for_the_same_id(
    stores: RunStores, saver: InMemorySaver
) -> None:
    """While it is entered it is not known yet whose the id is."""
    service = new_service(*ACTIONS, stores=stores, saver=saver)
    executor = service._executor
    inside, go_on = asyncio.Event(), asyncio.Event()
    check = executor._refuse

    async def slowly(*arguments: Any) -> Any:
        inside.set()
        await go_on.wait()
        return await check(*arguments)

    executor._refuse = slowly  # pyright: ignore[reportAttributeAccessIssue]  # a moment that is hard to meet
    try:
        async with asyncio.timeout(20):
            await service.log.submit(request_of(ECHO, identity=EVE))
            entering = asyncio.create_task(executor.execute(request_of(ECHO)))
            await inside.wait()
            assert "ended" == await service.cancel("r", EVE)
            go_on.set()
            with pytest.raises(RunConflict):
                await entering
    finally:
        await service.aclose()


async def test_a_cancelled_run_whose_secret_is_not_here_ends(stores: RunStores, saver: InMemorySaver) -> None:
    """Nothing that it did can be undone without it, and its record says so."""
    async with open_service(*ACTIONS, stores=stores, saver=saver) as one, asyncio.timeout(20):
        await one.start(request_of(SECRET, user_inputs={"key": SecretStr("tops3cret")}))
        await eventually(lambda: called("hold"), "the action")
    async with open_service(*ACTIONS, stores=stores, saver=saver) as other, asyncio.timeout(20):
        await other.open()
        assert "asked" == await other.cancel("r", LOCAL)
        assert "cancelled" == await ended(other)
        record, events = await other.record("r", LOCAL), await other.access.runs.events("r", LOCAL)

    assert "not undone" in record.errors[0]
    assert "key" in record.errors[0]
    assert "cancelled" == events[-1].phase
    assert 0 == (await stores.live.load("local")).all


async def called(name: str) -> bool:
    return name in CALLED


async def test_a_cancelled_run_whose_action_nobody_has_ends(
    stores: RunStores, saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the action comes first; one that was not cancelled is left alone."""
    monkeypatch.setattr("planner.runs.sweeper.LOOK_AGAIN", 0.05)
    async with open_service(*ACTIONS, stores=stores, saver=saver) as one, asyncio.timeout(20):
        for run_id in ("r", "kept"):
            await one.start(request_of(HOLDS, run_id))
        await eventually(lambda: called("hold"), "the action")
    async with open_service(echo, stores=stores, saver=saver) as other, asyncio.timeout(20):
        await other.open()
        await other.cancel("r", LOCAL)
        assert "cancelled" == await ended(other)
        assert "hold" in (await other.record("r", LOCAL)).errors[0]
        assert "running" == (await other.record("kept", LOCAL)).status


async def test_runs_that_nobody_here_can_run_do_not_hide_those_that_came_after_them(
    stores: RunStores, saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.runs.sweeper.PAGE", 5)
    async with open_service(echo, stores=stores, saver=saver, policy=SLOW) as service, asyncio.timeout(20):
        await service.engine.start(service.driver.advance)
        submitting = new_service(*ACTIONS, stores=stores, policy=IDLE)
        for at in range(12):
            await submitting.log.submit(request_of(HOLDS, f"foreign{at}"))
        await submitting.log.submit(request_of(ECHO, "ours"))
        await submitting.aclose()

        assert [0, 0, 1] == [await service.sweeper._look() for _ in range(3)]
        assert "succeeded" == await ended(service, "ours")


class Cut(MemoryRecords):
    """One run's record is in an archive that is away."""

    async def latest(self, kind: Kind, owner: str) -> Entry | None:
        if owner == "cold":
            raise ArchiveUnavailable("away")
        return await super().latest(kind, owner)


async def test_a_run_that_is_in_an_archive_which_is_away_keeps_no_other_from_being_found() -> None:
    stores = memory_stores(Cut())
    async with open_service(echo, stores=stores, policy=SLOW) as service, asyncio.timeout(20):
        await service.engine.start(service.driver.advance)
        for run_id in ("cold", "one", "two"):
            await service.log.submit(request_of(ECHO, run_id))
        assert 2 == await service.sweeper._look()
        assert "succeeded" == await ended(service, "one")


class Scanned(MemoryRuns):
    """Lost runs may be in an archive that is away; looking for them takes for ever at first."""

    scans = 0

    async def adopt(self, limit: int = 1000) -> int:
        self.scans += 1
        if self.scans == 1:
            await asyncio.Event().wait()
        raise ArchiveUnavailable("away")


async def test_looking_for_lost_runs_holds_up_nobody_and_is_not_begun_over_at_each_look() -> None:
    records = MemoryRecords()
    live = Scanned(records)
    stores = RunStores(records=records, live=live, renewer=live.renewer)
    async with open_service(echo, stores=stores) as service, asyncio.timeout(20):
        await service.open()
        await service.log.submit(request_of(ECHO))
        assert "succeeded" == await ended(service)
        for _ in range(3):
            await service.recover()

    assert 2 == live.scans


async def test_a_process_that_refuses_a_plan_leaves_its_run_alone(stores: RunStores) -> None:
    """It is for one that can wait for the approval; here it is not taken up again and again, and has not failed."""
    seen: list[str] = []
    submitting = new_service(*ACTIONS, stores=stores, policy=IDLE)
    await submitting.log.submit(request_of(make_plan({"id": "p", "action": "pay"})))
    await submitting.aclose()
    async with open_service(*ACTIONS, stores=stores, policy=SLOW) as service, asyncio.timeout(20):
        await service.driver.advance("r")
        assert "r" in service.sweeper._foreign
        assert [] == list(await stores.live.due())
        handle = await service.get("r", LOCAL)
        handle.attach(lambda result: seen.append(result.status))
        service.driver.closing = True
        result = await handle.wait()

    assert ("running", []) == (result.status, seen)


async def test_an_end_that_no_record_tells_is_none(
    stores: RunStores, saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that is deleted, or that somebody saw as long as it asked them, nothing more is heard."""
    seen: list[str] = []
    async with open_service(*ACTIONS, stores=stores, saver=saver) as service, asyncio.timeout(20):
        await (await service.start(request_of(ASKS))).wait()
        handle = await service.get("r", LOCAL)

        async def unknown(run_id: str, identity: RequestIdentity) -> Any:
            raise RunNotFound(run_id)

        with monkeypatch.context() as later:
            later.setattr(service.access, "record", unknown)
            other = type(handle)(service, "r", handle.plan_id, LOCAL)
            other.attach(lambda result: seen.append(result.status))
            result = await other.wait()

    assert ("running", [], False) == (result.status, seen, other.cancelled())
    assert "RunNotFound" in (result.errors[0].error or "")


async def test_a_handle_goes_on_following_a_run_that_a_newer_version_has_written(
    stores: RunStores, saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_service(*ACTIONS, stores=stores, saver=saver, policy=SLOW) as service, asyncio.timeout(20):
        await service.log.submit(request_of(ECHO))
        handle = await service.get("r", LOCAL)
        looks: list[str] = []
        known = service.access.any

        async def newer(run_id: str) -> Any:
            looks.append(run_id)
            raise NewerRecord(run_id, 9)

        monkeypatch.setattr(service.access, "any", newer)
        waiting = handle.follow()

        async def looked() -> bool:
            return len(looks) > 2

        await eventually(looked, "several looks")
        assert not waiting.done()
        monkeypatch.setattr(service.access, "any", known)
        await service.driver.advance("r")

        assert (await handle.wait()).ok


async def test_a_run_that_waits_is_looked_at_seldom_and_heard_at_once_when_it_is_answered_here(
    stores: RunStores, saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.runs.driving.PAUSES", (3600.0, 3600.0))
    async with open_service(*ACTIONS, stores=stores, saver=saver, policy=SLOW) as service, asyncio.timeout(20):
        handle = await service.start(request_of(ASKS))
        await handle.wait()

        async def waits() -> bool:
            return "r" in service.driver._waits

        await eventually(waits, "the wait")
        monkeypatch.setattr("planner.runs.driving.PAUSES", (0.01, 0.05))
        await handle.answer(3)

        assert (await handle.wait(end=True)).ok
        assert {} == service.driver._waits


async def test_copies_and_retries_are_counted_like_other_runs(stores: RunStores, saver: InMemorySaver) -> None:
    options: dict[str, Any] = {"stores": stores, "saver": saver, "policy": IDLE}
    async with open_service(*ACTIONS, **options, limits=Limits(tenant_runs=1)) as service, asyncio.timeout(20):
        await service.driver.settle(request_of(FAILS), here=True)
        await service.log.submit(request_of(HOLDS, "live"))
        with pytest.raises(TooManyRuns):
            await service.copy("r", identity=LOCAL)
        with pytest.raises(TooManyRuns):
            await service.retry("r", identity=LOCAL)

        assert "failed" == (await service.record("r", LOCAL)).status


async def test_a_store_that_hangs_does_not_keep_a_process_from_closing(
    saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits is told that the run goes on, and no callback that it was cancelled."""
    monkeypatch.setattr("planner.runs.closing.LEAVING", 0.1)

    class Hanging(MemoryRecords):
        hangs = asyncio.Event()

        async def latest(self, kind: Kind, owner: str) -> Entry | None:
            if self.hangs.is_set():
                await asyncio.Event().wait()
            return await super().latest(kind, owner)

    seen: list[str] = []
    records = Hanging()
    service = new_service(*ACTIONS, stores=memory_stores(records), saver=saver, policy=RunPolicy(grace=0.1, sweep=60))
    async with asyncio.timeout(10):
        handle = await service.start(request_of(ASKS), lambda result: seen.append(result.status))
        assert "waiting" == (await handle.wait()).status
        records.hangs.set()
        service.driver.wake("r")
        await service.aclose()
        result = await handle.wait(end=True)

    assert ("running", []) == (result.status, seen)
    assert "HandedBack" in (result.errors[0].error or "")


async def test_a_planner_that_was_closed_says_so(saver: InMemorySaver) -> None:
    service = new_service(*ACTIONS, saver=saver)
    handle = await service.start(request_of(ECHO))
    await handle.wait()
    await service.aclose()
    for asked in (
        service.start(request_of(ECHO, "s")),
        service.execute(request_of(ECHO, "s")),
        service.get("r", LOCAL),
        service.list(LOCAL),
        service.cancel("r", LOCAL),
        service.recover(),
        handle.refresh(),
    ):
        with pytest.raises(PlannerClosed):
            await asked


async def test_a_listener_hears_the_events_of_whoever_took_the_run_over() -> None:
    """Also those under numbers of events that it was told here, and that were never stored."""
    heard: list[tuple[int, str]] = []
    relay = Relay(lambda event: heard.append((event.seq, event.phase)))

    async def tell(*phases: Any, after: int = 0) -> None:
        for seq, phase in enumerate(phases, after + 1):
            await relay(ExecutionEvent(phase, seq=seq))

    def stored(*phases: Any) -> list[RunEvent]:
        now = datetime.now(UTC)
        return [RunEvent(run_id="r", seq=seq, at=now, phase=phase) for seq, phase in enumerate(phases, 1)]

    await tell("start", "step_start", "step_success", "step_start")
    relay.rewind(stored("start", "step_start", "start", "step_success"))
    await tell("start", "step_success", after=2)
    relay.rewind(stored("start", "step_start", "start"))
    await tell("success", after=3)

    assert [(1, "start"), (2, "step_start"), (3, "step_success"), (4, "step_start")] == heard[:4]
    assert [(3, "start"), (4, "step_success"), (4, "success")] == heard[4:]


async def test_a_listener_is_rewound_when_the_lease_is_lost(
    stores: RunStores, saver: InMemorySaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, str]] = []
    async with open_service(*ACTIONS, stores=stores, saver=saver, policy=SLOW) as service, asyncio.timeout(20):
        relay = Relay(lambda event: heard.append((event.seq, event.phase)))
        relay.seq = 100

        async def lost(*_: Any) -> ExecutionResult:
            raise LeaseLost("r")

        await service.log.submit(request_of(ECHO))
        with monkeypatch.context() as here:
            here.setattr(service.driver, "_advance", lost)
            settling = asyncio.create_task(service.driver.settle(request_of(ECHO, on_event=relay), here=True))
            await eventually(lambda: rewound(relay), "the listener is rewound")
        await service.driver.advance("r")
        result = await settling

    assert result.ok
    assert [1, 2, 3, 4] == [seq for seq, _ in heard]


async def rewound(relay: Relay) -> bool:
    return relay.seq == 0
