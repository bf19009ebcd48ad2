"""A run in the background, seen through handles of one process or of several over the same stores."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from planner.catalog import Approval, action
from planner.context import RequestIdentity
from planner.errors import RunConflict, RunEnded, RunNotEnded, RunNotFound, TooManyRuns
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult
from planner.limits import Limits
from planner.runs import RunService
from tests.support.eventually import eventually
from tests.support.run_services import LOCAL, memory_stores, new_service, open_service, request_of
from tests.support.running import make_plan

CALLED: list[str] = []
OPEN: dict[str, asyncio.Event] = {}
"""Where `hold` waits, by name; it is made when the action begins."""
EVE = RequestIdentity(user_id="eve", org_id="elsewhere")
ASKS = make_plan({"id": "q", "action": "ask"})


@action
async def echo(a: Any) -> Any:
    CALLED.append(f"echo {a}")
    return a


@action
async def hold(name: str) -> str:
    CALLED.append(f"hold {name}")
    await OPEN.setdefault(name, asyncio.Event()).wait()
    return name


@action
async def fail(times: int) -> str:
    CALLED.append("fail")
    if CALLED.count("fail") <= times:
        raise ValueError("not yet")
    return "done"


@action
async def ask() -> Any:
    return interrupt("how many?")


ACTIONS = (echo, hold, fail, ask)
TWO = make_plan(
    {"id": "e", "action": "echo", "inputs": {"a": "${user.a}"}},
    {"id": "h", "action": "hold", "inputs": {"name": "x"}, "after": ["e"]},
)
FAILS = make_plan(
    {"id": "e", "action": "echo", "inputs": {"a": "${user.a}"}},
    {"id": "f", "action": "fail", "inputs": {"times": 1}, "after": ["e"]},
)
GIVEN: dict[str, Any] = {"user_inputs": {"a": 1}}


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()
    OPEN.clear()


@asynccontextmanager
async def services(number: int = 1, **options: Any) -> AsyncIterator[list[RunService]]:
    """Services over the same stores, as processes have them."""
    stores, saver = memory_stores(), InMemorySaver()
    made: list[RunService] = []
    try:
        async with asyncio.timeout(20):
            for at in range(number):
                made.append(new_service(*ACTIONS, stores=stores, saver=saver, **options))
                await made[at].open()
            yield made
    finally:
        for service in made:
            await service.aclose()


@pytest.fixture
async def service() -> AsyncIterator[RunService]:
    async with open_service(*ACTIONS, saver=InMemorySaver()) as one, asyncio.timeout(20):
        yield one


async def begun(name: str = "x") -> asyncio.Event:
    """Wait until `hold` works."""

    async def look() -> asyncio.Event | None:
        return OPEN.get(name)

    found = await eventually(look, f"hold {name}")
    assert found is not None
    return found


async def test_a_handle_tells_where_the_run_is_and_waits_for_it(service: RunService) -> None:
    handle = await service.start(request_of(TWO, **GIVEN))
    gate = await begun()

    assert ("r", TWO.id, "running", False, False) == (
        handle.id, handle.plan_id, handle.status(), handle.done(), handle.cancelled(),
    )  # fmt: skip
    assert "running" == (await handle.refresh()).status
    gate.set()
    result = await handle.wait()

    assert (True, {"result": "x"}) == (result.ok, result.outputs)
    assert ("succeeded", True, False) == (handle.status(), handle.done(), handle.cancelled())
    assert "succeeded" == (await handle.refresh()).status
    assert (await handle.wait()) is result
    assert not handle.cancel()


async def test_giving_up_the_wait_does_not_stop_the_run(service: RunService) -> None:
    handle = await service.start(request_of(TWO, **GIVEN))
    gate = await begun()
    wait = asyncio.create_task(handle.wait())
    await asyncio.wait({wait}, timeout=0.01)
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    gate.set()

    assert (await handle.wait()).ok


@pytest.mark.parametrize("after", [0, 1, 3, 100])
async def test_events_are_followed_from_any_point_while_the_run_goes_on(after: int) -> None:
    """From another process as well: without gap and repeat, and ended by the event that ends the run."""
    async with services(2) as (here, there):
        handle = await here.start(request_of(TWO, **GIVEN))
        gate = await begun()
        other = await there.get("r", LOCAL)
        followed = [asyncio.create_task(collect(one.events(after=after))) for one in (handle, other)]
        stored = await there.access.runs.events("r", LOCAL)
        gate.set()
        await handle.wait()
        here_seen, there_seen = await asyncio.gather(*followed)
        every = [(event.seq, event.phase) for event in await there.access.runs.events("r", LOCAL)]

    assert len(stored) < len(every)
    assert [(number, phase) for number, phase in every if number > after] == here_seen == there_seen
    assert list(range(1, 7)) == [number for number, _ in every]
    assert "success" == every[-1][1]


async def collect(events: AsyncIterator[Any]) -> list[tuple[int, str]]:
    return [(event.seq, event.phase) async for event in events]


async def test_callbacks_are_called_once_each_also_those_that_come_late(service: RunService) -> None:
    seen: list[str] = []

    async def later(result: ExecutionResult) -> None:
        seen.append(f"async {result.status}")

    handle = await service.start(request_of(TWO, **GIVEN), lambda _: seen.append("first"))
    gate = await begun()
    handle.attach(later)
    gate.set()
    await handle.wait()
    handle.attach(lambda _: seen.append("late"))
    await handle.wait()
    (await service.get("r", LOCAL)).attach(lambda _: seen.append("found"))
    await (await service.get("r", LOCAL)).wait()

    assert ["first", "async succeeded", "late", "found"] == seen


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
async def test_on_complete_hears_of_every_end_once(service: RunService, end: str) -> None:
    seen: list[str] = []
    plan = FAILS if end == "failed" else TWO
    handle = await service.start(request_of(plan, **GIVEN), lambda result: seen.append(result.status))
    if end != "failed":
        gate = await begun()
        handle.cancel() if end == "cancelled" else gate.set()
    await handle.wait()
    await handle.wait()

    assert ([end], end) == (seen, (await handle.refresh()).status)


async def test_on_complete_is_not_told_of_a_question() -> None:
    """It hears of the end, which comes after the answer, and the listener hears all events in between."""
    async with services() as (service,):
        seen: list[str] = []
        events: list[ExecutionEvent] = []
        request = request_of(ASKS, on_event=events.append)
        handle = await service.start(request, lambda result: seen.append(result.status))
        waiting = await handle.wait()
        assert ("waiting", [], False) == (waiting.status, seen, handle.done())
        await handle.answer(3)
        result = await handle.wait()

        assert (["succeeded"], {"result": 3}) == (seen, result.outputs)
        stored = [(event.seq, event.phase) for event in await service.access.runs.events("r", LOCAL)]
        assert stored == [(event.seq, event.phase) for event in events]


async def test_a_callback_that_fails_or_hangs_is_recorded_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hang(_: ExecutionResult) -> None:
        await asyncio.Event().wait()

    def broken(_: ExecutionResult) -> None:
        raise ZeroDivisionError("mine")

    async with services(limits=Limits(callback_timeout=timedelta(seconds=0.02))) as (service,):
        request = request_of(make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}}))
        handle = await service.start(request, broken)
        handle.attach(hang)
        assert (await handle.wait()).ok
        record = await handle.refresh()

    assert ("succeeded", "CallbackTimeout") == (record.status, (record.callback_error or "").split(":")[0])
    assert "CallbackTimeout" == type(handle.callback_error).__name__
    assert caplog.text.count("on_complete of run r failed") == 2
    assert "ZeroDivisionError: mine" in caplog.text


async def test_the_same_id_is_one_run_however_many_start_it_at_once() -> None:
    """In one process, and from another one that only follows."""
    async with services(2) as (here, there):
        seen: list[str] = []
        told: list[list[ExecutionEvent]] = [[], [], []]
        starts = [
            service.start(request_of(TWO, on_event=told[at].append, **GIVEN), lambda _: seen.append("called"))
            for at, service in enumerate((here, here, there))
        ]
        handles = await asyncio.gather(*starts)
        (await begun()).set()
        results = await asyncio.gather(*(handle.wait() for handle in handles))

    assert [{"result": "x"}] * 3 == [result.outputs for result in results]
    assert ["echo 1", "hold x"] == CALLED
    assert ["called"] * 3 == seen
    assert [[1, 2, 3, 4, 5, 6]] * 3 == [[event.seq for event in events] for events in told]


async def test_an_id_of_another_plan_of_other_inputs_or_of_somebody_else_is_a_conflict() -> None:
    async with services(2) as (here, there):
        handle = await here.start(request_of(TWO, **GIVEN))
        gate = await begun()
        for service in (here, there):
            with pytest.raises(RunConflict, match="another plan"):
                await service.start(request_of(FAILS, **GIVEN))
            with pytest.raises(RunConflict, match="is taken"):
                await service.start(request_of(TWO, identity=EVE, **GIVEN))
        with pytest.raises(RunConflict, match="inputs"):
            await here.start(request_of(TWO, user_inputs={"a": 2}))
        gate.set()
        await handle.wait()


async def test_another_process_finds_the_run_and_lists_it() -> None:
    async with services(2) as (here, there):
        started = await here.start(request_of(TWO, **GIVEN))
        gate = await begun()
        found = await there.get("r", LOCAL)
        assert [("r", "running")] == [(run.id, run.status) for run in await there.list(LOCAL, status="running")]
        assert [] == await there.list(LOCAL, status="succeeded")
        gate.set()
        result = await found.wait()

        assert (TWO.id, True, {"result": "x"}, {"e", "h"}) == (
            found.plan_id, result.ok, result.outputs, result.step_outputs.keys(),
        )  # fmt: skip
        assert [("r", "succeeded")] == [(run.id, run.status) for run in await there.list(LOCAL)]
        assert await started.wait()
        assert ["hold x"] == [call for call in CALLED if call.startswith("hold")]


@pytest.mark.parametrize(
    "call", ["get", "record", "cancel", "answer", "decide", "resume", "retry", "rerun", "copy", "events"]
)
async def test_another_tenant_s_run_looks_like_one_that_is_not_there(call: str) -> None:
    more: dict[str, tuple[Any, ...]] = {"answer": (1,), "decide": ("q", "retry")}
    async with services(2) as (here, there):
        await (await here.start(request_of(ASKS))).wait()
        told: list[str] = []
        for service in (here, there):
            for run_id in ("r", "no such run"):
                asking = getattr(service, call)(run_id, *more.get(call, ()), identity=EVE)
                with pytest.raises(RunNotFound) as raised:
                    await (anext(asking) if call == "events" else asking)
                told.append(str(raised.value).replace(repr(run_id), "…"))

        assert 1 == len(set(told))
        assert "waiting" == (await here.record("r", LOCAL)).status


async def test_somebody_who_is_asked_may_answer_and_nothing_else() -> None:
    """Also where the owner's handle is in the same process."""
    boss = RequestIdentity(user_id="boss", org_id="local", roles=("boss",))
    plan = make_plan({"id": "p", "action": "pay"})

    @action(approval=Approval(roles=("boss",)))
    async def pay() -> int:
        return 1

    async with open_service(pay, saver=InMemorySaver()) as service, asyncio.timeout(20):
        mine = await service.start(request_of(plan))
        await mine.wait()
        theirs = await service.get("r", boss)
        assert ["approval"] == [one.kind for one in await theirs.questions()]
        for call in (service.cancel, service.resume, service.rerun, service.copy):
            with pytest.raises(RunNotFound):
                await call("r", identity=boss)
        assert "waiting" == (await mine.refresh()).status
        await theirs.answer({"approve": True})

        assert (await mine.wait()).ok


async def test_a_run_that_nobody_has_begun_is_cancelled_at_once() -> None:
    async with services() as (service,):
        first = await service.start(request_of(make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}}), "first"))
        await first.wait()
        copied = await first.copy(exec_id="copied")

        assert "ended" == await service.cancel("copied", LOCAL)
        record = await service.record("copied", LOCAL)
        events = [event.phase for event in await service.access.runs.events("copied", LOCAL)]

        assert ("cancelled", "Cancelled", ["cancelled"]) == (record.status, record.error_type, events)
        assert "cancelled" == (await copied.wait()).status
        assert ["echo 1"] == CALLED


@pytest.mark.parametrize("where", ["here", "in another process"])
async def test_a_run_is_cancelled_wherever_it_is(where: str) -> None:
    async with services(2) as (here, there):
        handle = await here.start(request_of(TWO, **GIVEN))
        await begun()
        service = here if where == "here" else there

        assert "asked" == await service.cancel("r", LOCAL)
        result = await (await service.get("r", LOCAL)).wait()

        assert ("cancelled", "cancelled") == (result.status, (await handle.wait()).status)
        assert {"e": "succeeded", "h": "cancelled"} == {name: one.status for name, one in result.outcomes.items()}
        assert handle.cancelled()
        with pytest.raises(RunEnded, match="cancelled"):
            await service.cancel("r", LOCAL)


async def test_a_run_that_waits_is_cancelled_without_an_answer() -> None:
    async with services(2) as (here, there):
        handle = await here.start(request_of(ASKS))
        await handle.wait()
        other = await there.get("r", LOCAL)
        assert other.cancel()
        result = await handle.wait(end=True)

        assert "cancelled" == result.status
        for service in (here, there):
            with pytest.raises(RunEnded):
                await service.answer("r", 3, identity=LOCAL)
        assert not (await there.get("r", LOCAL)).cancel()


async def test_a_finished_run_cannot_be_cancelled(service: RunService) -> None:
    handle = await service.start(request_of(make_plan({"id": "e", "action": "echo", "inputs": {"a": 1}})))
    await handle.wait()

    assert not handle.cancel()
    with pytest.raises(RunEnded, match="succeeded"):
        await service.cancel("r", LOCAL)
    with pytest.raises(RunNotFound):
        await service.cancel("no such run", LOCAL)


async def test_a_cancelled_run_does_not_run_its_steps_again(service: RunService) -> None:
    """Running it again returns what became of it; retrying runs what was cancelled, and nothing else."""
    handle = await service.start(request_of(TWO, on_cancel="keep", **GIVEN))
    await begun()
    handle.cancel()
    await handle.wait()
    OPEN.clear()
    del handle
    again = await (await service.start(request_of(TWO, on_cancel="keep", **GIVEN))).wait()
    assert ("cancelled", ["echo 1", "hold x"]) == (again.status, CALLED)

    retried = await service.retry("r", identity=LOCAL)
    (await begun()).set()

    assert (await retried.wait()).ok
    assert ["echo 1", "hold x", "hold x"] == CALLED


async def test_a_retry_keeps_what_holds_and_is_another_attempt(service: RunService) -> None:
    handle = await service.start(request_of(FAILS, **GIVEN))
    assert "failed" == (await handle.wait()).status
    seen: list[str] = []
    retried = await handle.retry()
    retried.attach(lambda result: seen.append(result.status))
    result = await retried.wait()
    record = await retried.refresh()
    events = await service.access.runs.events("r", LOCAL)

    assert (True, ["echo 1", "fail", "fail"], ["succeeded"]) == (result.ok, CALLED, seen)
    assert ("succeeded", 2, None, ()) == (record.status, record.attempt, record.error_type, record.errors)
    assert list(range(1, len(events) + 1)) == [event.seq for event in events]
    assert ["failure", "success"] == [event.phase for event in events if event.phase in ("failure", "success")]
    with pytest.raises(RunEnded):
        await service.retry("r", identity=LOCAL)


async def test_a_run_that_goes_on_cannot_be_retried(service: RunService) -> None:
    handle = await service.start(request_of(TWO, **GIVEN))
    gate = await begun()
    with pytest.raises(RunNotEnded):
        await handle.retry()
    gate.set()
    await handle.wait()


async def test_a_run_is_run_again_with_other_inputs(service: RunService) -> None:
    plan = make_plan({"id": "e", "action": "echo", "inputs": {"a": "${user.a}"}})
    first = await service.start(request_of(plan, user_inputs={"a": 1, "b": 2}))
    await first.wait()
    other = await first.rerun({"a": 7}, exec_id="other")
    result = await other.wait()

    assert ({"result": 7}, "other", plan.id) == (result.outputs, other.id, other.plan_id)
    assert {"a": 7, "b": 2} == (await other.refresh()).inputs
    assert {"a": 1, "b": 2} == (await first.refresh()).inputs
    assert 1 == (await other.refresh()).attempt


async def test_a_copy_waits_until_it_is_begun(service: RunService) -> None:
    """Nobody takes it up before: neither the sweeper nor whoever waits for it."""
    plan = make_plan({"id": "e", "action": "echo", "inputs": {"a": "${user.a}"}})
    first = await service.start(request_of(plan, **GIVEN))
    await first.wait()
    copied = await first.copy(exec_id="copied")
    waiting = asyncio.create_task(copied.wait())
    await service.recover()
    await asyncio.wait({waiting}, timeout=0.1)

    assert (False, "pending", ["echo 1"]) == (waiting.done(), (await copied.refresh()).status, CALLED)
    await copied.resume()

    assert ({"result": 1}, ["echo 1", "echo 1"]) == ((await waiting).outputs, CALLED)


async def test_more_runs_than_a_tenant_may_have_are_refused_with_a_time_to_try_again() -> None:
    """What is there already can be found, and started again under its id."""
    async with services(limits=Limits(tenant_runs=1)) as (service,):
        handle = await service.start(request_of(TWO, **GIVEN))
        gate = await begun()
        for call in (service.start, service.execute):
            with pytest.raises(TooManyRuns, match="tenant_runs") as raised:
                await call(request_of(TWO, "more", **GIVEN))
            assert ("tenant_runs", True) == (raised.value.limit, 0 < raised.value.retry_after < 60)
        other = await service.start(request_of(TWO, "theirs", identity=EVE, **GIVEN))
        assert await service.start(request_of(TWO, **GIVEN)) is handle
        gate.set()

        assert (await handle.wait()).ok
        assert (await other.wait()).ok


async def test_more_due_runs_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.runs.admission.FRESH", 0.0)
    async with services(limits=Limits(due_runs=1)) as (service,):
        assert (await (await service.start(request_of(ASKS, "first"))).wait()).status == "waiting"
        live = service.log.stores.live
        await service.sweeper.close()
        await live.enter("first", None)

        with pytest.raises(TooManyRuns, match="due_runs"):
            await service.start(request_of(TWO, **GIVEN))


async def test_a_call_in_the_foreground_that_is_given_up_cancels_its_run(service: RunService) -> None:
    call = asyncio.create_task(service.execute(request_of(TWO, **GIVEN)))
    await begun()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert "cancelled" == (await service.record("r", LOCAL)).status
