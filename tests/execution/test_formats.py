"""What is stored has a version, and these snapshots: a change here needs a migration."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import action
from planner.execution import StepOutcome
from planner.plan import CandidatePlan
from tests.support.running import Runner, make_plan

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
    } == {name: value for name, value in start.items() if name != "started_at"}
    assert start["started_at"].tzinfo is not None
    assert replace(result.outcomes["s"]) == StepOutcome.from_record(stored["records"]["s"])
