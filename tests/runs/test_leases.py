"""Several planners over the embedded stores of one data directory: who advances a run, and what the others see."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from goalgraph import CandidatePlan, NodePlanner, action, open_planner
from planner.events import ExecutionEvent
from planner.execution.run_fields import ended_field
from planner.runs import BackgroundExecutionHandle, RunPolicy
from storage.dual.runs import TieredRuns
from storage.records import Change
from storage.runs import Claim, Ended, Granted, Update
from tests.support.eventually import eventually
from tests.support.run_services import LOCAL, request_of
from tests.support.run_stores import expire
from tests.support.running import make_plan

POLICY = RunPolicy(lease=1.0, sweep=0.1, grace=0.2)
IDLE = replace(POLICY, advance=False)
CALLED: list[str] = []
GATES: dict[str, asyncio.Event] = {}
OpenOne = Callable[..., Any]


@action
async def step(name: str, after: Any = None) -> str:
    CALLED.append(name)
    return name


@action
async def hold(name: str, after: Any = None) -> str:
    CALLED.append(name)
    await GATES.setdefault(name, asyncio.Event()).wait()
    return name


@action
async def block(seconds: float) -> str:
    """Keep the event loop, and with it everything of this process but the keeper of the leases."""
    CALLED.append("block")
    threading.Event().wait(seconds)
    return "blocked"


THREE: CandidatePlan = make_plan(
    {"id": "a", "action": "step", "inputs": {"name": "a"}},
    {"id": "b", "action": "hold", "inputs": {"name": "b", "after": "${a}"}},
    {"id": "c", "action": "step", "inputs": {"name": "c", "after": "${b}"}},
)


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()
    GATES.clear()


@pytest.fixture
async def another(tmp_path: Path) -> AsyncIterator[OpenOne]:
    """Open planners on one data directory; they are closed in the end, the last first."""
    async with AsyncExitStack() as exits, asyncio.timeout(40):

        async def open_one(*actions: object, policy: RunPolicy = POLICY, **options: Any) -> NodePlanner:
            opening = open_planner(
                actions=actions or (step, hold, block), data_dir=tmp_path / "data", policy=policy, **options
            )
            return await exits.enter_async_context(opening)

        yield open_one


async def gate(name: str = "b") -> asyncio.Event:
    """Wait until `hold` works."""

    async def look() -> bool:
        return name in GATES

    await eventually(look, f"hold {name}")
    return GATES[name]


def live_of(planner: NodePlanner) -> TieredRuns:
    live = planner.service.run_service.log.stores.live
    assert isinstance(live, TieredRuns)
    return live


async def status_of(handle: BackgroundExecutionHandle) -> str:
    return (await handle.refresh()).status


async def test_two_planners_start_one_run_under_one_id(another: OpenOne) -> None:
    """One advances it; both wait for it, and hear its events and its end."""
    one, two = await another(), await another()
    seen: list[str] = []
    told: list[list[ExecutionEvent]] = [[], []]
    handles = await asyncio.gather(
        *(
            planner.execute_background(THREE, exec_id="r", on_complete=lambda _: seen.append("end"), on_event=heard)
            for planner, heard in zip((one, two), (events.append for events in told), strict=True)
        )
    )
    (await gate()).set()
    results = await asyncio.gather(*(handle.wait() for handle in handles))

    assert [{"result": "c"}] * 2 == [result.outputs for result in results]
    assert (["a", "b", "c"], ["end", "end"]) == (CALLED, seen)
    assert [list(range(1, 9))] * 2 == [[event.seq for event in events] for events in told]
    assert [{"a", "b", "c"}] * 2 == [result.step_outputs.keys() for result in results]


async def test_a_call_in_the_foreground_waits_for_whoever_advances_the_run(another: OpenOne) -> None:
    one, two = await another(), await another()
    await one.execute_background(THREE, exec_id="r")
    opened = await gate()
    waiting = asyncio.create_task(two.execute(THREE, run_id="r"))
    await asyncio.wait({waiting}, timeout=0.1)
    opened.set()

    assert {"result": "c"} == (await waiting).outputs
    assert ["a", "b", "c"] == CALLED


async def test_a_run_is_cancelled_from_a_planner_that_advances_none(another: OpenOne) -> None:
    one, two = await another(), await another(policy=IDLE)
    mine = await one.execute_background(THREE, exec_id="r")
    await gate()
    theirs = await two.get_run("r")

    assert theirs.cancel()
    assert "cancelled" == (await theirs.wait()).status
    assert "cancelled" == (await mine.wait()).status
    assert ["a", "b"] == CALLED


async def test_a_planner_that_is_closed_leaves_its_runs_to_another(another: OpenOne, tmp_path: Path) -> None:
    """At once, and not after a lease; nothing of it is lost, and nothing is told twice."""
    keeps = await another(policy=IDLE)
    seen: list[str] = []
    async with open_planner(actions=[step, hold], data_dir=tmp_path / "data", policy=POLICY) as one:
        handle = await one.execute_background(THREE, exec_id="r", on_complete=lambda _: seen.append("end"))
        await gate()
    assert ("running", []) == ((await handle.wait()).status, seen)
    found = await keeps.get_run("r")
    assert "running" == await status_of(found)
    GATES.clear()
    await another(policy=replace(POLICY, lease=30.0))
    async with asyncio.timeout(5):
        (await gate()).set()
        result = await found.wait()

    assert (True, ["a", "b", "b", "c"]) == (result.ok, CALLED)
    events = [event async for event in found.events()]
    assert list(range(1, len(events) + 1)) == [event.seq for event in events]
    assert [1, 1, 1] == [
        sum((event.phase, event.step_id) == ("step_success", name) for event in events) for name in "abc"
    ]


async def test_runs_of_actions_that_a_catalog_lacks_are_left_to_one_that_has_them(another: OpenOne) -> None:
    idle, foreign = await another(policy=IDLE), await another(step)
    await idle.service.run_service.log.submit(request_of(THREE))
    assert 0 == await foreign.recover()
    found = await foreign.get_run("r")
    assert ("pending", []) == (await status_of(found), CALLED)
    await another()
    (await gate()).set()

    assert (await found.wait()).ok
    assert ["a", "b", "c"] == CALLED


async def test_recover_takes_up_what_is_due_and_says_how_many(another: OpenOne) -> None:
    """Without the timer, which would come first."""
    idle = await another(policy=IDLE)
    slow = await another()
    await slow.service.run_service.sweeper.close()
    await idle.service.run_service.log.submit(request_of(THREE))

    assert (1, 0) == (await slow.recover(), await slow.recover())
    (await gate()).set()
    assert (await (await idle.get_run("r")).wait()).ok


async def test_an_action_that_blocks_the_loop_for_longer_than_the_lease_keeps_it(another: OpenOne) -> None:
    """It is renewed from a thread of its own, so the run goes on as if nothing had been."""
    one = await another(policy=replace(POLICY, lease=0.5))
    plan = make_plan(
        {"id": "x", "action": "block", "inputs": {"seconds": 1.2}},
        {"id": "c", "action": "step", "inputs": {"name": "c", "after": "${x}"}},
    )
    result = await one.execute(plan, run_id="r")
    events = [event.phase async for event in (await one.get_run("r")).events()]

    assert (True, ["block", "c"]) == (result.ok, CALLED)
    assert (1, 0) == (events.count("start"), one.service.run_service.driver.lost)


async def test_whoever_loses_the_lease_starts_no_further_step_and_gets_the_other_s_result(another: OpenOne) -> None:
    """Another one took the run over while a step worked here; its end is the run's."""
    one = await another()
    live, events = live_of(one), list[ExecutionEvent]()
    handle = await one.execute_background(THREE, exec_id="r", on_event=events.append)
    opened = await gate()
    service = one.service.run_service

    async def recorded() -> bool:
        return len(await service.access.runs.events("r", LOCAL)) == 4

    await eventually(recorded, "the events so far")
    taken = await take(live)
    opened.set()
    at = datetime.now(UTC)
    fields = {"result": ended_field("Elsewhere: it ended there", service.log.stores.codec)}
    change = Change(
        kind="run", owner="r", at=at, columns={"status": "failed", "finished_at": at.isoformat()}, fields=fields
    )
    told = Change(kind="event", owner="r", at=at, columns={"phase": "failure", "error_type": "Elsewhere"})
    update = Update(change=change, events=[told], after=taken.seq, then=Ended())
    await live.update("r", taken.token, update)
    result = await handle.wait()

    assert (["a", "b"], "failed") == (CALLED, result.status)
    assert ["Elsewhere: it ended there"] == [event.error for event in result.errors]
    assert 1 == service.driver.lost
    stored = [(event.seq, event.phase) for event in await service.access.runs.events("r", LOCAL)]
    assert (taken.seq + 1, "failure") == stored[-1]
    assert stored == [(event.seq, event.phase) for event in events]


async def test_a_run_that_was_taken_and_given_back_goes_on_without_repeating_what_is_done(another: OpenOne) -> None:
    """The other one died: after its lease the first takes the run up again."""
    one = await another()
    live = live_of(one)
    handle = await one.execute_background(THREE, exec_id="r")
    opened = await gate()
    await take(live, seconds=0.3)
    opened.set()
    result = await handle.wait()

    assert (True, {"result": "c"}) == (result.ok, result.outputs)
    assert ("a", 1, 1) == (CALLED[0], CALLED.count("a"), CALLED.count("c"))
    assert CALLED.count("b") in (1, 2)


async def take(live: TieredRuns, seconds: float = 30.0) -> Granted:
    """Be somebody else who takes the run over."""
    await expire(live.client, "r")
    taken = await live.enter("r", Claim(holder="somebody else", seconds=seconds))
    assert isinstance(taken, Granted)
    return taken
