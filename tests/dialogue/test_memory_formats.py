"""What is stored of a session has a version, and these snapshots: a change here needs a migration."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from planner.context import RequestIdentity
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.state import Artifact, PendingQuestion, SessionState
from planner.dialogue.stored import MAX_BYTES, from_stored, to_stored
from planner.errors import UnstorableOutput
from planner.plan import CandidatePlan
from storage.errors import CorruptRecord, NewerRecord
from storage.sessions import MemoryStorage

ANNA = RequestIdentity(user_id="anna", org_id="acme")
PLAN: dict[str, Any] = {
    "goal": "g",
    "steps": [
        {
            "id": "a", "action": "add", "action_ref": None, "inputs": {"x": "${user.x}", "y": 1.5}, "extras": {},
            "for_each": "${user.list}", "when": {"ref": "${user.x}", "op": "gt", "value": 0},
            "after": ["b", {"step": "c", "required": False}], "optional": True, "priority": 2,
        },
        {"id": "b", "action": None, "action_ref": "action:add@0.1.0", "inputs": {}, "extras": {"k": None}},
    ],
    "extras": {"note": "n"},
    "outputs": {"sum": "${a}"},
}  # fmt: skip
STORED: dict[str, Any] = {
    "version": 1,
    "last_flow_ids": ["mail"],
    "pending": {
        "kind": "inputs",
        "text": "What is x?",
        "form": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        "goal": "g",
        "inputs": {"list": [1, 2]},
        "flow_ids": None,
        "run_id": "r2",
        "interrupt_id": None,
        "quick_action_id": None,
        "argument": "",
        "draft": True,
        "plan": PLAN,
        "id": "q1",
        "asked_at": "2026-11-20T16:00:00Z",
        "shown": "d1",
    },
    "running": ["r1"],
    "artifacts": [{"run_id": "r0", "goal": "count", "text": "count → n: 3"}],
    "values": {"n": 3, "day": "2026-11-20"},
    "summary": "Facts: none.",
    "summarised_until": "2026-11-20T16:00:00+00:00",
}
STATE = SessionState(
    session_id="s",
    identity=ANNA,
    last_flow_ids=["mail"],
    pending=PendingQuestion(
        kind="inputs",
        text="What is x?",
        form={"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
        goal="g",
        plan=CandidatePlan.from_dict(PLAN),
        inputs={"list": [1, 2]},
        run_id="r2",
        draft=True,
        id="q1",
        asked_at=datetime(2026, 11, 20, 16, tzinfo=UTC),
        shown="d1",
    ),
    running=["r1"],
    artifacts=[Artifact(run_id="r0", goal="count", text="count → n: 3")],
    values={"n": 3, "day": "2026-11-20"},
    summary="Facts: none.",
    summarised_until="2026-11-20T16:00:00+00:00",
)


def make_state(**fields: Any) -> SessionState:
    return SessionState(session_id="s", identity=ANNA, **fields)


async def test_a_state_as_it_is_stored() -> None:
    """Both ways, and through a storage; neither the id nor the identity is in it."""
    storage = MemoryStorage()
    memory = DialogueMemory(storage)
    await memory.open("s", ANNA)
    await memory.save(STATE)

    assert STORED == to_stored(STATE)
    assert STORED == await storage.get_task_context("s")
    assert STATE == from_stored("s", ANNA, STORED)
    assert STATE == await memory.open("s", ANNA)


def test_an_empty_state_as_it_is_stored() -> None:
    stored = {
        "version": 1, "last_flow_ids": None, "pending": None, "running": [], "artifacts": [], "values": {},
        "summary": "", "summarised_until": "",
    }  # fmt: skip

    assert stored == to_stored(make_state())
    assert make_state() == from_stored("s", ANNA, stored)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": 0}, "its format 0 is unknown"),
        ({"version": "1"}, "its format '1' is unknown"),
        ({"version": True}, "its format True is unknown"),
        ({"more": 1}, "more: missing, or unknown to format 1"),
        ({"summarised_until": 12}, "summarised_until: Input should be a valid string"),
        ({"running": "r1"}, "running: Input should be a valid array"),
        ({"values": None}, "values: Input should be an object"),
        ({"artifacts": [{"run_id": "r"}]}, "artifacts.0.goal: Field required"),
        ({"artifacts": [{"run_id": "r", "goal": "", "text": "", "x": 1}]}, "artifacts.0.x: Extra inputs"),
        ({"pending": "x"}, "pending: "),
        ({"pending": {}}, "pending.kind: Field required"),
        ({"pending": {**STORED["pending"], "kind": "other"}}, "pending.kind"),
        ({"pending": {**STORED["pending"], "plan": {"steps": [{"id": "a", "odd": 1}]}}}, "steps.0.odd"),
        ({"pending": {**STORED["pending"], "plan": 7}}, "valid dictionary or instance of CandidatePlan"),
        ({"summary": b"x"}, "it is no JSON"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(f"{key}" for key in value),
)
def test_a_state_that_was_changed_is_an_error_that_names_the_session(changed: dict[str, Any], said: str) -> None:
    """Never a new state, and no value is shown."""
    with pytest.raises(CorruptRecord) as raised:
        from_stored("s-17", ANNA, {**STORED, **changed})

    assert "'state of session s-17'" in str(raised.value)
    assert said in str(raised.value)
    assert not isinstance(raised.value, NewerRecord)


def test_a_state_that_lacks_a_field_is_an_error() -> None:
    with pytest.raises(CorruptRecord, match="summary: missing"):
        from_stored("s", ANNA, {key: value for key, value in STORED.items() if key != "summary"})


def test_a_state_of_a_newer_version_is_left_to_that() -> None:
    with pytest.raises(NewerRecord, match=r"'state of session s' .*its format is 2"):
        from_stored("s", ANNA, {"version": 2, "anything": 1})


@pytest.mark.parametrize("context", [{"n": 1}, [1], "text", 7, {}], ids=["dict", "list", "text", "number", "empty"])
async def test_a_context_that_something_else_stored_is_an_error_with_advice(context: object) -> None:
    memory = DialogueMemory(MemoryStorage())
    await memory.storage.create_session("s", "anna", {"org_id": "acme"})
    await memory.storage.store_task_context("s", context)

    with pytest.raises(CorruptRecord, match="talk under another session id") as raised:
        await memory.open("s", ANNA)

    assert "'state of session s'" in str(raised.value)
    assert context == await memory.storage.get_task_context("s")


def test_a_large_state_loses_its_oldest_values_and_then_its_oldest_artifacts() -> None:
    """From the state as well, so that it is as it will be read."""
    artifacts = [Artifact(run_id=f"r{n}", goal="g", text="ä" * 10_000) for n in range(10)]
    state = make_state(values={f"v{n}": "x" * 3_000 for n in range(50)}, artifacts=artifacts)
    stored = to_stored(state)

    assert 0.9 * MAX_BYTES < len(json.dumps(stored, ensure_ascii=False).encode()) <= 1.02 * MAX_BYTES
    assert list(stored["values"]) == [f"v{n}" for n in range(50 - len(stored["values"]), 50)]
    assert 10 == len(stored["artifacts"])
    assert state == from_stored("s", ANNA, stored)

    state.artifacts = [Artifact(run_id=f"r{n}", goal="g", text="ä" * 10_000) for n in range(20)]
    stored = to_stored(state)
    assert {} == stored["values"]
    assert "r19" == stored["artifacts"][-1]["run_id"]
    assert 10 < len(stored["artifacts"]) < 20


def test_secrets_and_what_is_no_data_are_not_stored() -> None:
    """They are asked again. A key that only looks harmless may hold one deeper."""
    pending = PendingQuestion(
        kind="inputs",
        text="?",
        inputs={
            "key": SecretStr("hunter2"), "password": "hunter2", "db": {"pwd": "hunter2"},
            "url": "postgres://u:hunter2@host/", "table": object(), "raw": b"hunter2", "nan": float("nan"),
            "large": 2**70, "half": "\ud800", "day": date(2026, 1, 2), "pair": (1, 2),
        },
    )  # fmt: skip
    stored = to_stored(make_state(pending=pending, values={"token": "hunter2", "n": 1}))

    assert {"day": "2026-01-02", "pair": [1, 2]} == stored["pending"]["inputs"]
    assert {"n": 1} == stored["values"]
    assert "hunter2" not in json.dumps(stored)


async def test_a_plan_that_cannot_be_stored_is_an_error_that_names_the_place() -> None:
    plan = CandidatePlan.from_dict({"steps": [{"id": "a", "action": "x", "inputs": {"n": 2**70}}]})
    memory = DialogueMemory(MemoryStorage())
    state = await memory.open("s", ANNA)
    state.pending = PendingQuestion(kind="plan", text="Run it?", plan=plan)

    with pytest.raises(UnstorableOutput, match=r"pending\.plan\.steps\[0\]\.inputs\.n is an integer of more than 64"):
        await memory.save(state)

    state.pending = state.pending.model_copy(
        update={"plan": CandidatePlan.from_dict({"steps": [{"id": "a", "action": "x", "inputs": {"n": object()}}]})}
    )
    with pytest.raises(UnstorableOutput, match="the question that is open cannot be stored"):
        await memory.save(state)


def test_a_question_that_is_too_large_for_a_session_is_refused() -> None:
    """What is remembered is dropped before that; the question never is."""
    state = make_state(values={"big": "y" * 300_000})
    state.pending = PendingQuestion(kind="inputs", text="?", inputs={f"k{n}": "x" * 180_000 for n in range(8)})

    with pytest.raises(
        UnstorableOutput, match=r"about 1,440,[0-9]+ bytes, and 1,000,000 are kept with a session; give"
    ):
        to_stored(state)
