"""What is stored has a version, and these snapshots: a change here needs a migration."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionCatalog, action
from planner.context import RunContext
from planner.execution import PlanExecutor, RunRequest, StepOutcome
from planner.execution.history import Start
from planner.execution.outcome import UndoOutcome
from planner.execution.run_records import read_event, read_run
from planner.plan import CandidatePlan
from storage.errors import CorruptRecord
from storage.memory import MemoryRecords
from storage.records import Entry, Value
from storage.serde import ValueCodec, strict_serializer
from tests.support.running import Runner, make_plan

CODEC = ValueCodec(strict_serializer())
AT = datetime(2026, 11, 20, 10, tzinfo=UTC)

RECORD: dict[str, Any] = {
    "v": 1,
    "step_id": "s",
    "ref": "action:add@0.1.0",
    "status": "succeeded",
    "value": [None, 2],
    "blobs": [[[0], "ab12", "", 300000]],
    "reason": None,
    "error_type": None,
    "error": None,
    "attempts": 1,
    "inputs_hash": "0123456789abcdef",
    "started_at": AT,
    "finished_at": AT,
}

PLAN: dict[str, Any] = {
    "goal": "g",
    "steps": [
        {
            "id": "a",
            "action": "add",
            "action_ref": None,
            "inputs": {"x": "${user.x}"},
            "extras": {},
            "for_each": "${user.list}",
            "when": {"ref": "${user.x}", "op": "gt", "value": 0},
            "after": ["b", {"step": "c", "required": False}],
            "optional": True,
            "priority": 2,
        },
        {"id": "b", "action": None, "action_ref": "action:add@0.1.0", "inputs": {}, "extras": {"k": 1}},
    ],
    "extras": {"note": "n"},
    "outputs": {"sum": "${a}"},
}


def test_the_record_of_an_outcome() -> None:
    """Both ways."""
    outcome = StepOutcome.from_record(RECORD)

    assert RECORD == outcome.to_record()
    assert ((0,), "ab12", "", 300000) == tuple(outcome.blobs[0])


def test_a_record_of_another_version_is_refused() -> None:
    """It says which version wrote it."""
    with pytest.raises(ValueError, match="another version of goalgraph"):
        StepOutcome.from_record({**RECORD, "v": 2})


def test_the_record_of_a_mapped_step_that_failed() -> None:
    """With its items, which are only there then."""
    record = {**RECORD, "status": "failed", "items": [RECORD]}

    assert record == StepOutcome.from_record(record).to_record()
    assert [StepOutcome.from_record(RECORD)] == list(StepOutcome.from_record(record).items)


def test_the_record_of_an_undo() -> None:
    """Both ways, and no other version."""
    record = {
        "v": 1,
        "step_id": "s",
        "status": "failed",
        "attempts": 3,
        "error_type": "RuntimeError",
        "error": "no",
        "at": AT,
        "items": [1, 4],
    }

    assert record == UndoOutcome.from_record(record).to_record()
    with pytest.raises(ValueError, match="another version of goalgraph"):
        UndoOutcome.from_record({**record, "v": 2})


def test_a_start_without_an_attempt_is_of_the_first() -> None:
    """Runs of an earlier version go on."""
    record = {"v": 1, "plan_id": "p", "refs": {}, "owner": ["o", "u"], "inputs_hash": "h", "started_at": AT}

    assert (1, False) == (Start.from_record(record).attempt, Start.from_record(record).undo_again)


def test_the_json_of_a_plan() -> None:
    """Both ways, and its id with it."""
    plan = CandidatePlan.from_dict(PLAN)

    assert PLAN == plan.to_dict()
    assert "plan-c6716e295aab62f5" == plan.id


async def test_what_a_saver_holds_of_a_finished_run() -> None:
    """The way it was started, its outcomes, and no inputs."""

    @action
    async def add(a: int) -> int:
        return a + 1

    saver = InMemorySaver()
    plan = make_plan({"id": "s", "action": "add", "inputs": {"a": "${user.n}"}})
    result = await Runner(add, saver=saver).run(plan, user_inputs={"n": 1})
    found = await saver.aget_tuple({"configurable": {"thread_id": "run-1", "checkpoint_ns": ""}})

    assert found is not None
    stored = found.checkpoint["channel_values"]["__end__"]
    start = stored["start"]
    assert {"v": 1, "stop": None, "stop_message": "", "records": {"s": result.outcomes["s"].to_record()}} == {
        name: value for name, value in stored.items() if name != "start"
    }
    assert {
        "v": 1,
        "plan_id": plan.id,
        "refs": {"s": "action:add@0.1.0"},
        "owner": ["local", "local"],
        "inputs_hash": "2bfd14f43d17fc7c",
        "attempt": 1,
        "undo_again": False,
    } == {name: value for name, value in start.items() if name != "started_at"}
    assert start["started_at"].tzinfo is not None
    assert replace(result.outcomes["s"]) == StepOutcome.from_record(stored["records"]["s"])


async def test_what_is_stored_of_a_run() -> None:
    """Columns without a user's words, and two fields."""
    run, _ = await _recorded()

    times = {"started_at": run.columns["started_at"], "finished_at": run.columns["finished_at"]}
    assert {
        **dict.fromkeys(("session_id", "agent_id", "app_id", "origin", "parent", "error_type"), ""),
        **times,
        "status": "succeeded",
        "plan_id": RUN_PLAN.id,
        "user_id": "local",
        "org_id": "local",
        "visibility": "normal",
        "importance": "normal",
    } == run.columns
    assert all(datetime.fromisoformat(time).tzinfo is not None for time in times.values())
    assert {
        "v": 1,
        "goal": "",
        "plan": RUN_PLAN.to_dict(),
        "inputs": {"n": 1},
        "left_out": {},
        "tags": [],
    } == CODEC.load(run.fields["start"], "")
    result = CODEC.load(run.fields["result"], "")
    step = result.pop("steps")["s"]
    assert {"v": 1, "outputs": {"result": 2}, "left_out": {}, "errors": [], "questions": []} == result
    assert ["attempts", "finished_at", "started_at", "status"] == sorted(step)
    assert {"steps": 1, "attempts": 1} == {name: run.counters[name] for name in ("steps", "attempts")}
    assert {"steps", "attempts", "seconds"} == run.counters.keys()


async def test_what_is_stored_of_an_event() -> None:
    """Facts as columns, those that there are; what was said as a field; no outputs."""
    _, events = await _recorded()
    start, begun, done, end = events

    assert ({"phase": "start"}, {"v": 1, "details": {"resumed": False}}) == (
        start.columns,
        CODEC.load(start.fields["event"], ""),
    )
    assert {"phase": "step_start", "step_id": "s", "action": "add", "attempt": "1"} == begun.columns
    assert {"phase": "step_success", "step_id": "s", "action": "add", "attempt": "1"} == {
        name: fact for name, fact in done.columns.items() if name != "duration_ms"
    }
    assert done.columns["duration_ms"].isdigit()
    assert {"phase", "duration_ms"} == end.columns.keys()
    assert [{}, {}, {}] == [event.fields for event in (begun, done, end)]


async def test_a_run_of_another_version_is_refused() -> None:
    """Corrupt is never absent: the error names the record."""
    run, events = await _recorded()
    newer = CODEC.dump({"v": 2})

    with pytest.raises(CorruptRecord, match=r"'run run-1'.*another version"):
        read_run(replace(run, fields={"start": newer}), CODEC)
    with pytest.raises(CorruptRecord, match=r"event 1 of run run-1, field .event."):
        read_event(replace(events[0], fields={"event": Value("msgpack", b"\xc1")}), CODEC)
    with pytest.raises(CorruptRecord, match="run-1"):
        read_run(replace(run, columns={}), CODEC)


@action
async def add(a: int) -> int:
    return a + 1


RUN_PLAN = make_plan({"id": "s", "action": "add", "inputs": {"a": "${user.n}"}})


async def _recorded() -> tuple[Entry, Sequence[Entry]]:
    """Run a small plan; return what is stored of it."""
    records = MemoryRecords()
    request = RunRequest(plan=RUN_PLAN, user_inputs={"n": 1}, context=RunContext(run_id="run-1"))
    await PlanExecutor(ActionCatalog([add]), records=records).execute(request)
    run = await records.latest("run", "run-1")
    assert run is not None
    return run, await records.read("event", "run-1")
