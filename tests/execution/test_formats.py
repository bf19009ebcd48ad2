"""What is stored has a version, and these snapshots: a change here needs a migration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from planner.catalog import ActionCatalog, Codecs, action
from planner.catalog.values import Codec
from planner.context import RequestIdentity, RunContext
from planner.execution import PlanExecutor, RunRequest, RunStores, StepOutcome
from planner.execution.history import Start
from planner.execution.outcome import UndoOutcome
from planner.execution.recorded import read_request, request_field
from planner.execution.run_fields import answer_field, callback_failed, start_field
from planner.execution.run_records import read_event, read_run
from planner.execution.secrets import MASK
from planner.plan import CandidatePlan
from storage.errors import CorruptRecord, NewerRecord
from storage.memory import MemoryBlobStore, MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Entry, Value
from storage.serde import ValueCodec, strict_serializer
from tests.support.ledger import Ledger, cancelled_at_once, step
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

START: dict[str, Any] = {
    "v": 1, "plan_id": "p", "refs": {}, "owner": ["o", "u"], "inputs_hash": "h", "started_at": AT,
}  # fmt: skip

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
    """One that a newer version wrote is left to that."""
    with pytest.raises(NewerRecord, match=r"step 's'.*its format is 2"):
        StepOutcome.from_record({**RECORD, "v": 2})
    with pytest.raises(NewerRecord, match="its format is 2"):
        Start.from_record({**START, "v": 2})
    with pytest.raises(CorruptRecord, match="another version of goalgraph"):
        StepOutcome.from_record({**RECORD, "v": 0})


def test_the_record_of_a_mapped_step_that_failed() -> None:
    """With its items, which are only there then."""
    record = {**RECORD, "status": "failed", "items": [RECORD]}

    assert record == StepOutcome.from_record(record).to_record()
    assert [StepOutcome.from_record(RECORD)] == list(StepOutcome.from_record(record).items)


def test_the_record_of_a_step_that_failed_after_it_had_acted() -> None:
    """The note is only there where it is so; a record without it is read as before."""
    failed = StepOutcome.from_record({**RECORD, "status": "failed", "value": None, "error_type": "BindingError"})
    acted = replace(failed, acted=True)

    assert (False, True) == (failed.uncertain, acted.uncertain)
    assert {**failed.to_record(), "acted": True} == acted.to_record()
    assert acted == StepOutcome.from_record(acted.to_record())


async def test_what_is_stored_of_a_run_that_is_undone() -> None:
    """The decision, with the version of each undo that is named; and of steps that only an earlier attempt got to."""
    ledger, saver = Ledger(), InMemorySaver()
    ledger.broken = {"a"}
    plan = make_plan(step("a"), step("f", "a", action="fail"))
    await Runner(*ledger.actions(), saver=saver).run(plan)
    await cancelled_at_once(Runner(*ledger.actions(), saver=saver), plan, attempt=2, on_cancel="keep")
    returned = [value for writes in saver.writes.values() for _, _, value, _ in writes.values()]
    decisions = [one for one in map(saver.serde.loads_typed, returned) if isinstance(one, dict) and "undo" in one]
    held = await saver.aget_tuple({"configurable": {"thread_id": "run-1"}})
    assert held is not None
    final = held.checkpoint["channel_values"]["__end__"]

    assert decisions[0] == {
        "v": 1,
        "stop": "failure",
        "stop_message": "step 'f' failed",
        "undo": ["a"],
        "refs": {"a": "action:take_back@0.1.0"},
    }
    assert ("skipped", "succeeded") == (final["records"]["a"]["status"], final["carried"]["a"]["status"])


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
    with pytest.raises(NewerRecord, match=r"undo of step 's'"):
        UndoOutcome.from_record({**record, "v": 2})


def test_a_start_without_an_attempt_is_of_the_first() -> None:
    """Runs of an earlier version go on."""
    start = Start.from_record(START)
    assert (1, False, {}) == (start.attempt, start.undo_again, start.policies)


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
        "policies": {
            "stop_on_failure": True,
            "on_failure": "compensate",
            "on_cancel": "compensate",
            "max_replans": 2,
        },
    } == {name: value for name, value in start.items() if name != "started_at"}
    assert start["started_at"].tzinfo is not None
    assert replace(result.outcomes["s"]) == StepOutcome.from_record(stored["records"]["s"])


async def test_what_is_stored_of_a_run() -> None:
    """Columns without a user's words, and three fields."""
    run, _ = await _recorded()

    times = {"started_at": run.columns["started_at"], "finished_at": run.columns["finished_at"]}
    assert {
        **dict.fromkeys(("session_id", "agent_id", "app_id", "origin", "parent", "error_type", "reason"), ""),
        **times,
        "attempt": "1",
        "status": "succeeded",
        "plan_id": RUN_PLAN.id,
        "user_id": "local",
        "org_id": "local",
        "visibility": "normal",
        "importance": "normal",
        "inputs_hash": "2bfd14f43d17fc7c",
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
    assert {
        "v": 1,
        "aside": {},
        "values": {},
        "missing": [],
        "roles": ["admin"],
        "client_id": None,
        "mode": "local",
        "stop_on_failure": True,
        "on_failure": "compensate",
        "on_cancel": "compensate",
        "max_replans": 2,
        "undo_again": False,
    } == CODEC.load(run.fields["request"], "")
    assert {"start", "request", "result"} == run.fields.keys()
    result = CODEC.load(run.fields["result"], "")
    step = result.pop("steps")["s"]
    assert {
        "v": 1,
        "outputs": {"result": 2},
        "left_out": {},
        "errors": [],
        "questions": [],
        "compensation": [],
    } == result
    assert ["attempts", "finished_at", "started_at", "status"] == sorted(step)
    assert {"steps": 1, "attempts": 1} == {name: run.counters[name] for name in ("steps", "attempts")}
    assert {"steps", "attempts", "seconds"} == run.counters.keys()


async def test_what_is_stored_of_inputs_that_are_no_text_of_a_record() -> None:
    """Large ones and those with a codec are in the blob store; secrets and what is no data are named."""
    codecs, blobs = Codecs(), MemoryBlobStore()
    codecs.add(Codec(Point, lambda point: point.name.encode(), lambda content: Point(content.decode())))
    given = {"large": "x" * 300, "here": [1, Point("a")], "key": SecretStr("swordfish"), "live": object()}
    request = RunRequest(plan=RUN_PLAN, user_inputs=given, context=RunContext(run_id="r"))

    document = CODEC.load(await request_field(request, codecs, blobs, 200, CODEC), "")

    assert ["key", "live"] == document["missing"]
    assert {"large": None, "here": [1, None]} == document["values"]
    assert {"large": [[]], "here": [[1]]} == {
        name: [part[0] for part in parts] for name, parts in document["aside"].items()
    }
    assert {"large": "", "here": f"{__name__}.Point"} == {
        name: parts[0][2] for name, parts in document["aside"].items()
    }


async def test_an_input_that_says_a_secret_has_to_be_given_again_too() -> None:
    """The record is for people then; what the actions get is not what is left when the secret is taken out."""
    given = {"key": SecretStr("swordfish"), "url": "https://me:swordfish@host", "list": [1, "a swordfish"], "n": 1}
    request = RunRequest(plan=RUN_PLAN, user_inputs=given, context=RunContext(run_id="r"))

    for largest in (8, 1000):
        blobs = MemoryBlobStore()
        document = CODEC.load(await request_field(request, Codecs(), blobs, largest, CODEC), "")
        assert (["key", "url", "list"], {}) == (document["missing"], document["values"])
    start = CODEC.load(start_field(request, 1000, CODEC), "")
    assert {"key": MASK, "url": "https://me:<secret key>@host", "list": [1, "a <secret key>"], "n": 1} == start[
        "inputs"
    ]


async def test_what_is_stored_of_an_answer_and_of_a_callback_that_failed() -> None:
    """Fields of their own beside the others, so that they do not overwrite what the run's writer says."""
    run, _ = await _recorded()
    failed = callback_failed("run-1", ValueError("no"), {}, CODEC)
    assert ({"v": 1, "error": "ValueError: no"}, "exist") == (CODEC.load(failed.fields["callback"], ""), failed.must)
    answer = answer_field({"approve": True, "reason": ""}, 1, CODEC)
    assert {"v": 1, "value": {"approve": True, "reason": ""}, "attempt": 1} == CODEC.load(answer, "")

    fields = {**run.fields, **failed.fields, "answer:q1": answer}
    read = read_run(replace(run, fields=fields), CODEC)

    assert ("ValueError: no", {"q1": {"approve": True, "reason": ""}}) == (read.callback_error, read.answers)
    later = replace(run, fields=fields, columns={**run.columns, "attempt": "2"})
    assert {} == read_run(later, CODEC).answers, "the question was one of the attempt before"
    unmarked = {**fields, "answer:q1": CODEC.dump({"v": 1, "value": 5})}
    assert {"q1": 5} == read_run(replace(later, fields=unmarked), CODEC).answers, "as an earlier version wrote it"


async def test_a_run_of_an_earlier_version_can_be_read_and_run() -> None:
    """Its record has neither the columns nor the field that came later."""
    run, _ = await _recorded()
    columns = {name: fact for name, fact in run.columns.items() if name not in ("reason", "attempt", "inputs_hash")}
    fields = {name: field for name, field in run.fields.items() if name != "request"}

    read = read_run(replace(run, columns=columns, fields=fields), CODEC)
    request = await read_request(read, {}, MemoryBlobStore(), Codecs())

    assert (1, None, None, {}) == (read.attempt, read.reason, read.callback_error, read.answers)
    assert (RUN_PLAN.id, {"n": 1}, "keep", 1) == (
        request.plan.id, request.user_inputs, request.on_failure, request.attempt,
    )  # fmt: skip


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
    """Corrupt is never absent: the error names the record. One of a newer version is for somebody newer."""
    run, events = await _recorded()

    with pytest.raises(NewerRecord, match=r"'run run-1'.*newer version"):
        read_run(replace(run, fields={"start": CODEC.dump({"v": 2})}), CODEC)
    with pytest.raises(CorruptRecord, match=r"'run run-1'.*another version"):
        read_run(replace(run, fields={"start": CODEC.dump({"v": 0})}), CODEC)
    with pytest.raises(CorruptRecord, match=r"event 1 of run run-1, field .event."):
        read_event(replace(events[0], fields={"event": Value("msgpack", b"\xc1")}), CODEC)
    with pytest.raises(CorruptRecord, match="run-1"):
        read_run(replace(run, columns={}), CODEC)


@dataclass(frozen=True)
class Point:
    name: str


@action
async def add(a: int) -> int:
    return a + 1


RUN_PLAN = make_plan({"id": "s", "action": "add", "inputs": {"a": "${user.n}"}})


async def _recorded() -> tuple[Entry, Sequence[Entry]]:
    """Run a small plan; return what is stored of it."""
    records = MemoryRecords()
    context = RunContext(run_id="run-1", identity=RequestIdentity(roles=["admin"]))
    request = RunRequest(plan=RUN_PLAN, user_inputs={"n": 1}, context=context)
    stores = RunStores(records=records, live=MemoryRuns(records))
    await PlanExecutor(ActionCatalog([add]), stores=stores).execute(request)
    run = await records.latest("run", "run-1")
    assert run is not None
    return run, await records.read("event", "run-1")
