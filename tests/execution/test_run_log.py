"""What a run leaves behind: its record before the first step, its events in order, and never a secret."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt
from pydantic import SecretStr

from planner.catalog import ActionCatalog, action
from planner.context import RequestIdentity, RunContext, RunImportance, RunVisibility
from planner.errors import LeaseLost, RunConflict, RunNotFound, RunNotRecorded
from planner.execution import PlanExecutor, RunRequest, Runs, RunStores, steps_of
from planner.limits import Limits
from storage.errors import StorageUnavailable
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Change, Kind
from storage.runs import Granted, Refused, Update
from tests.support.running import loop_turn, make_plan

LOCAL = RequestIdentity()
CALLED: list[str] = []


@action
async def add(a: int) -> int:
    CALLED.append("add")
    return a + 1


@action
async def fail(a: int) -> int:
    raise KeyError(a)


@action
async def ask(a: int) -> int:
    return a + interrupt({"how": "many"})


@action
async def tell_secret(key: SecretStr, a: int) -> int:
    raise ValueError(f"cannot open with {key.get_secret_value()}")


ADD: dict[str, Any] = {"id": "s", "action": "add", "inputs": {"a": "${user.n}"}}
TWO = make_plan(ADD, {"id": "t", "action": "add", "inputs": {"a": "${s.result}"}}, outputs={"sum": "${t.result}"})


class FaultyRuns(MemoryRuns):
    """Runs that fail as a test says: `faults` are raised one by one, before a call; answers may be lost after it."""

    def __init__(self, records: MemoryRecords) -> None:
        super().__init__(records)
        self.faults: list[Exception | None] = []
        self.lost_answers = 0
        self.gate: asyncio.Event | None = None
        """Updates wait for it."""

    async def enter(self, *args: Any, **parts: Any) -> Granted | Refused:
        self._fail()
        return await super().enter(*args, **parts)

    async def update(self, run_id: str, token: int, update: Update) -> int:
        if self.gate is not None:
            await self.gate.wait()
        self._fail()
        seq = await super().update(run_id, token, update)
        if self.lost_answers:
            self.lost_answers -= 1
            raise StorageUnavailable("the answer was lost")
        return seq

    def _fail(self) -> None:
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault


class Recorded:
    """An executor that records its runs, and the reader of them."""

    def __init__(self, *, saver: Any = None, limits: Limits | None = None) -> None:
        self.stored = MemoryRecords()
        self.live = FaultyRuns(self.stored)
        self.runs = Runs(self.stored)
        catalog = ActionCatalog([add, fail, ask, tell_secret])
        self.executor = PlanExecutor(catalog, saver, limits, stores=RunStores(records=self.stored, live=self.live))

    async def run(self, plan: Any, run_id: str = "r", inputs: Any = None, context: Any = None, **options: Any) -> Any:
        context = replace(context or RunContext(run_id=run_id), run_id=run_id)
        given = {"n": 1} if inputs is None else inputs
        return await self.executor.execute(RunRequest(plan=plan, user_inputs=given, context=context, **options))

    async def bytes_of(self, run_id: str) -> bytes:
        """Everything that is stored of a run, as bytes."""
        run = await self.stored.read("event", run_id), await self.stored.latest("run", run_id)
        return repr(run).encode()


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


async def test_a_run_leaves_its_record_and_its_events() -> None:
    recorded = Recorded()
    context = RunContext(run_id="r", session_id="s1", agent_id="a1", app_id="p1", tags=("blue", "run:outer"))

    result = await recorded.run(TWO, context=context)
    run = await recorded.runs.get("r", LOCAL)
    events = await recorded.runs.events("r", LOCAL)

    assert (run.status, run.outputs, run.inputs, run.error_type) == ("succeeded", {"sum": 3}, {"n": 1}, None)
    assert (run.session_id, run.agent_id, run.app_id, run.parent, run.tags) == (
        ("s1", "a1", "p1", "outer", ("blue", "run:outer"))
    )
    assert (run.plan, run.usage.steps, run.usage.attempts) == (TWO.to_dict(), 2, 2)
    assert {step: state.status for step, state in run.steps.items()} == {"s": "succeeded", "t": "succeeded"}
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at
    assert run.usage.seconds >= result.usage.seconds > 0
    assert [(event.seq, event.phase, event.step_id, event.action) for event in events] == [
        (1, "start", None, None),
        (2, "step_start", "s", "add"),
        (3, "step_success", "s", "add"),
        (4, "step_start", "t", "add"),
        (5, "step_success", "t", "add"),
        (6, "success", None, None),
    ]
    assert [event.duration_ms is not None for event in events] == [False, False, True, False, True, True]


async def test_the_record_is_there_before_the_first_step() -> None:
    recorded = Recorded()
    seen: list[Any] = []

    @action
    async def look(a: int) -> int:
        seen.append((await recorded.runs.get("r", LOCAL)).status)
        return a

    recorded.executor.catalog.add(look)
    await recorded.run(make_plan({"id": "s", "action": "look", "inputs": {"a": 1}}))

    assert seen == ["running"]


async def test_a_store_that_is_down_refuses_the_run() -> None:
    recorded = Recorded()
    recorded.live.faults.append(StorageUnavailable("redis does not answer"))

    with pytest.raises(RunNotRecorded, match=r"'r' was not started.*redis does not answer"):
        await recorded.run(TWO)

    assert CALLED == []
    assert (await recorded.run(TWO)).ok


async def test_a_failed_run_says_what_failed() -> None:
    recorded = Recorded()

    await recorded.run(
        make_plan({**ADD, "action": "fail"}, {"id": "t", "action": "add", "inputs": {"a": "${s.result}"}})
    )
    run = await recorded.runs.get("r", LOCAL)
    events = await recorded.runs.events("r", LOCAL)

    assert (run.status, run.error_type, run.steps["s"].error, run.steps["t"].reason) == (
        ("failed", "KeyError", "1", "dependency")
    )
    assert [(event.phase, event.error_type) for event in events if event.error] == [
        ("step_failure", "KeyError"),
        ("failure", "KeyError"),
    ]


async def test_no_secret_is_stored() -> None:
    """Not as an input, not in an error, not in an output that is bound to it."""
    recorded = Recorded()
    step = {"id": "s", "action": "tell_secret", "inputs": {"key": "${user.key}", "a": 1}, "optional": True}
    plan = make_plan(
        step, {**ADD, "id": "t"}, outputs={"key": "${user.key}", "text": "it is ${user.key}", "n": "${t.result}"}
    )

    await recorded.run(
        plan, inputs={"key": SecretStr("swordfish-9"), "deep": [{"k": SecretStr("swordfish-9")}], "n": 1}
    )
    run = await recorded.runs.get("r", LOCAL)

    assert b"swordfish" not in await recorded.bytes_of("r")
    assert run.inputs == {"key": "**********", "deep": "**********", "n": 1}
    assert run.outputs["n"] == 2


async def test_what_a_record_cannot_hold_is_named() -> None:
    recorded = Recorded(limits=Limits(blob_bytes=1000))
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    odd = {"n": 1, "live": object(), "large": "x" * 2000, "text": "\ud800", "big": 2**70, "cyclic": cyclic}

    assert (await recorded.run(TWO, inputs=odd)).ok
    run = await recorded.runs.get("r", LOCAL)

    assert run.left_out.keys() >= {"inputs.live", "inputs.large", "inputs.cyclic"}
    assert run.inputs["n"] == 1


async def test_a_waiting_run_says_what_it_asks_and_goes_on_in_the_same_record() -> None:
    recorded = Recorded(saver=InMemorySaver())
    plan = make_plan(ADD, {"id": "q", "action": "ask", "inputs": {"a": "${s.result}"}})

    first = await recorded.run(plan)
    waiting = await recorded.runs.get("r", LOCAL)
    await recorded.run(plan, answers={first.interrupts[0].id: 5})
    run = await recorded.runs.get("r", LOCAL)
    events = await recorded.runs.events("r", LOCAL)

    assert (waiting.status, waiting.finished_at, waiting.usage.steps) == ("waiting", None, 1)
    assert [(one["step_id"], one["value"]) for one in waiting.questions] == [("q", {"how": "many"})]
    assert (run.status, run.questions, run.usage.steps, run.outputs) == ("succeeded", (), 2, {"result": 7})
    assert run.started_at == waiting.started_at
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.phase for event in events].count("start") == 2
    assert {step: state.status for step, state in steps_of(["s", "q"], replace(run, steps={}), events).items()} == {
        "s": "succeeded",
        "q": "succeeded",
    }


async def test_a_finished_run_that_is_called_again_leaves_no_new_events() -> None:
    recorded = Recorded(saver=InMemorySaver())
    await recorded.run(TWO)
    before = await recorded.runs.events("r", LOCAL)

    assert (await recorded.run(TWO)).ok
    assert await recorded.runs.events("r", LOCAL) == before


async def test_a_record_that_does_not_know_of_the_end_learns_it() -> None:
    """The process died after the last checkpoint and before the record was written."""
    recorded = Recorded(saver=InMemorySaver(), limits=Limits())
    await recorded.run(TWO)
    ended = await recorded.stored.latest("run", "r")
    assert ended is not None
    await recorded.stored.append(
        Change(kind="run", owner="r", at=ended.at, columns={**ended.columns, "status": "running"})
    )

    await recorded.run(TWO)
    run = await recorded.runs.get("r", LOCAL)

    assert (run.status, run.usage.steps, run.finished_at is not None) == ("succeeded", 2, True)


async def test_an_ephemeral_run_keeps_no_events_of_steps() -> None:
    recorded = Recorded()

    await recorded.run(TWO, context=RunContext(run_id="r", importance=RunImportance.ephemeral))

    assert [event.phase for event in await recorded.runs.events("r", LOCAL)] == ["start", "success"]
    assert (await recorded.runs.get("r", LOCAL)).steps["t"].status == "succeeded"


async def test_events_wait_for_a_store_that_comes_back_and_are_read_once() -> None:
    """Also those whose answer was lost: the call is repeated, and the store knows it again."""
    recorded = Recorded()
    recorded.live.faults.extend([None, StorageUnavailable("away"), StorageUnavailable("away")])
    recorded.live.lost_answers = 1

    await recorded.run(TWO)
    stored = await recorded.stored.read("event", "r")
    events = await recorded.runs.events("r", LOCAL)

    assert [event.phase for event in events] == [
        *("start", "step_start", "step_success", "step_start", "step_success", "success")
    ]
    assert len(stored) == len(events)
    assert (await recorded.runs.get("r", LOCAL)).status == "succeeded"


async def test_a_store_that_refuses_events_leaves_the_run_to_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody advances what cannot be recorded; it goes on where it was."""
    monkeypatch.setattr("planner.execution.interruption.BACK_IN", 0.0)
    recorded = Recorded(saver=InMemorySaver())
    recorded.live.faults.extend([None, ValueError("broken driver")])

    with pytest.raises((LeaseLost, ValueError)):
        await recorded.run(TWO)
    run = await recorded.runs.get("r", LOCAL)

    assert (run.status, list(await recorded.live.due())) == ("running", ["r"])
    assert "recorded no longer: broken driver" in caplog.text
    assert (await recorded.run(TWO)).ok


async def test_the_end_of_a_run_is_acknowledged_before_it_is_returned() -> None:
    recorded = Recorded()
    recorded.live.gate = asyncio.Event()
    running = asyncio.create_task(recorded.run(TWO))
    async with asyncio.timeout(10):
        while CALLED != ["add", "add"]:
            await loop_turn()
        for _ in range(50):
            await loop_turn()
        assert not running.done()
        recorded.live.gate.set()

        assert (await running).ok
    assert (await recorded.runs.get("r", LOCAL)).status == "succeeded"


async def test_a_run_whose_checkpoints_fail_stays_live_and_goes_on() -> None:
    class Failing(InMemorySaver):
        failing = True

        async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
            if self.failing:
                raise StorageUnavailable("the disk is full")
            await super().aput_writes(*args, **kwargs)

    recorded = Recorded(saver=(saver := Failing()))
    with pytest.raises(StorageUnavailable):
        await recorded.run(TWO)
    broken = await recorded.runs.get("r", LOCAL)
    saver.failing = False
    await recorded.run(TWO)
    run = await recorded.runs.get("r", LOCAL)

    assert (broken.status, broken.error_type, broken.errors, broken.finished_at) == ("running", None, (), None)
    assert (run.status, run.error_type, run.errors) == ("succeeded", None, ())


async def test_a_run_whose_stores_are_all_down_is_left_at_once_with_the_error() -> None:
    """It does not wait for its events to be stored."""

    async def refuse(*args: Any, **kwargs: Any) -> None:
        raise StorageUnavailable("the network is gone")

    recorded = Recorded(saver=(saver := InMemorySaver()))
    saver.aput_writes = refuse
    recorded.live.faults.extend([None, *(StorageUnavailable("away") for _ in range(100))])

    with pytest.raises(StorageUnavailable, match="the network is gone"):
        await recorded.run(TWO)

    assert (await recorded.runs.get("r", LOCAL)).status == "running"


async def test_a_list_looks_for_no_more_than_it_was_asked_for() -> None:
    """To look further may open the archive."""
    recorded = Recorded()
    for run_id in ("r1", "r2", "r3"):
        await recorded.run(TWO, run_id)
    named: list[str] = []
    owners = recorded.stored.owners

    async def counted(kind: Kind) -> AsyncIterator[str]:
        async for owner in owners(kind):
            named.append(owner)
            yield owner

    recorded.stored.owners = counted

    assert [run.id for run in await recorded.runs.list(LOCAL, limit=2)] == ["r3", "r2"]
    assert named == ["r3", "r2"]


async def test_the_id_of_somebody_else_s_run_cannot_be_taken() -> None:
    """Also where the checkpoints of that run are not."""
    recorded = Recorded()
    await recorded.run(TWO)
    other = RunContext(run_id="r", identity=RequestIdentity(user_id="eve", org_id="local"))

    stranger = RunContext(run_id="r", identity=RequestIdentity(user_id="local", org_id="other"))

    for context in (other, stranger):
        for plan in (TWO, make_plan(ADD)):
            with pytest.raises(RunConflict, match=r"^run id 'r' is taken; use a new one$"):
                await recorded.run(plan, context=context)
    with pytest.raises(RunConflict, match="another plan"):
        await recorded.run(make_plan(ADD))
    assert (await recorded.run(TWO)).ok


async def test_a_run_is_seen_by_its_owner_only() -> None:
    recorded = Recorded()
    await recorded.run(TWO)

    for user, org in [("eve", "local"), ("local", "other")]:
        stranger = RequestIdentity(user_id=user, org_id=org)
        with pytest.raises(RunNotFound):
            await recorded.runs.get("r", stranger)
        with pytest.raises(RunNotFound):
            await recorded.runs.events("r", stranger)
        assert (await recorded.runs.list(stranger), await recorded.runs.find("r", stranger)) == ([], [])


async def test_visibility_decides_where_a_run_is_listed() -> None:
    recorded = Recorded()
    for run_id, visibility in [("r1", "normal"), ("r2", "inline"), ("r3", "hidden")]:
        tags = ("blue", "run:r1") if run_id != "r1" else ()
        await recorded.run(
            TWO, context=RunContext(run_id="", tags=tags, visibility=RunVisibility(visibility)), run_id=run_id
        )
    ids = lambda runs: [run.id for run in runs]  # noqa: E731 - shorter than what it stands in

    assert ids(await recorded.runs.list(LOCAL)) == ["r1"]
    assert ids(await recorded.runs.list(LOCAL, inline=True)) == ["r2", "r1"]
    assert ids(await recorded.runs.list(LOCAL, inline=True, limit=1)) == ["r2"]
    assert ids(await recorded.runs.list(LOCAL, parent="r1")) == ["r2"]
    assert ids(await recorded.runs.list(LOCAL, tag="blue")) == ["r2"]
    assert ids(await recorded.runs.list(LOCAL, status="failed")) == []
    assert (await recorded.runs.get("r3", LOCAL)).visibility == "hidden"
    assert await recorded.runs.find("r", LOCAL) == ["r2", "r1"]
    assert (await recorded.runs.find("r3", LOCAL), await recorded.runs.find("", LOCAL, limit=1)) == (["r3"], ["r2"])


async def test_events_are_read_after_a_number() -> None:
    recorded = Recorded()
    await recorded.run(TWO)

    events = await recorded.runs.events("r", LOCAL, after=2, limit=2)

    assert [event.seq for event in events] == [3, 4]


async def test_a_run_that_is_refused_leaves_nothing() -> None:
    recorded = Recorded()

    assert not (await recorded.run(TWO, inputs={})).ok
    assert not (await recorded.run(TWO, dry_run=True)).errors
    assert await recorded.runs.list(LOCAL) == []
