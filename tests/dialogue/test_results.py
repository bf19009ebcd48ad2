"""What runs leave for later turns: artifacts in words, and values that a plan may bind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from planner.catalog import action
from planner.dialogue.memory import DialogueMemory
from planner.dialogue.results import MAX_ARTIFACTS, MAX_VALUES
from planner.dialogue.state import SessionState
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from storage.sessions import MemoryStorage
from tests.support.running import Runner, make_plan


@dataclass
class Report:
    title: str
    pages: int


@action
async def count(rows: list[int]) -> int:
    return len(rows)


@action
async def report(n: int) -> Report:
    return Report("Sales", n)


@action
async def fail(n: int) -> int:
    raise ValueError(f"no such customer as {n}")


def keep(state: SessionState, goal: str, result: ExecutionResult, plan: CandidatePlan | None = None) -> None:
    DialogueMemory(MemoryStorage()).keep(state, goal, plan, result)


def ended(outputs: Mapping[str, Any], run_id: str = "r", **more: Any) -> ExecutionResult:
    return ExecutionResult(ok=True, outputs=dict(outputs), run_id=run_id, **more)


async def test_a_run_leaves_an_artifact_and_its_small_values() -> None:
    plan = make_plan(
        {"id": "a", "action": "count", "inputs": {"rows": [4, 5]}},
        {"id": "b", "action": "report", "inputs": {"n": "${a}"}},
        outputs={"n": "${a}", "report": "${b}"},
    )
    state = SessionState()
    keep(state, "Count\n the  rows", await Runner(count, report).run(plan), plan)

    assert ['Count the rows → n: 2; report: {title: "Sales", pages: 2}'] == [
        one.text for one in state.artifacts
    ]  # fmt: skip
    assert ("run-1", "Count the rows") == (state.artifacts[0].run_id, state.artifacts[0].goal)
    assert {"n": 2, "report": {"title": "Sales", "pages": 2}} == state.values


async def test_a_run_that_failed_leaves_what_failed_and_no_values() -> None:
    plan = make_plan(
        {"id": "a", "action": "count", "inputs": {"rows": [4]}},
        {"id": "b", "action": "fail", "inputs": {"n": "${a}"}},
        outputs={"n": "${a}", "m": "${b}"},
    )
    state = SessionState()
    keep(state, "find the customer", await Runner(count, fail).run(plan), plan)

    assert 1 == len(state.artifacts)
    assert state.artifacts[0].text.startswith("find the customer → failed: step b: ")
    assert "no such customer as 1" in state.artifacts[0].text
    assert {} == state.values


async def test_a_plan_that_was_not_run_says_why() -> None:
    plan = make_plan({"id": "a", "action": "nowhere"})
    state = SessionState()
    keep(state, "", await Runner(count).run(plan), plan.model_copy(update={"goal": "do it"}))

    assert state.artifacts[0].text.startswith("do it → not run: ")
    assert "nowhere" in state.artifacts[0].text


async def test_a_preview_and_a_run_that_goes_on_leave_nothing() -> None:
    plan = make_plan({"id": "a", "action": "count", "inputs": {"rows": [4]}})
    state = SessionState()
    keep(state, "g", await Runner(count).run(plan, dry_run=True), plan)
    for status in ("pending", "running", "waiting", "compensating"):
        keep(state, "g", ExecutionResult(ok=False, outputs={}, status=status, run_id="r"))

    assert ([], {}) == (state.artifacts, state.values)
    keep(state, "g", ExecutionResult(ok=False, outputs={}, status="cancelled", run_id="r"))
    assert ["g → cancelled"] == [one.text for one in state.artifacts]


def test_the_newest_values_and_artifacts_stay() -> None:
    state = SessionState()
    for n in range(MAX_VALUES + 10):
        keep(state, f"goal {n}", ended({f"v{n}": n, "same": n}, f"r{n}"))

    assert [f"r{n}" for n in range(MAX_VALUES + 10 - MAX_ARTIFACTS, MAX_VALUES + 10)] == [
        one.run_id for one in state.artifacts
    ]
    assert MAX_VALUES == len(state.values)
    assert (MAX_VALUES + 9, False) == (state.values["same"], "v0" in state.values)
    assert "same" == list(state.values)[-1]


def test_a_run_that_is_told_of_again_has_one_artifact() -> None:
    state = SessionState()
    keep(state, "g", ExecutionResult(ok=False, outputs={}, status="failed", run_id="r"))
    keep(state, "h", ended({"n": 1}, "q"))
    keep(state, "g", ended({"n": 2}))

    assert ["h → n: 1", "g → n: 2"] == [one.text for one in state.artifacts]


SECRETS: dict[str, tuple[Any, str]] = {
    "api_token": ("hunter2", "•••"),
    "connection": ({"host": "db", "password": "hunter2"}, '{host: "db", password: •••}'),
    "url": ("postgres://me:hunter2@host/db", '"postgres://•••@host/db"'),
    "handle": (SecretStr("hunter2"), "•••"),
    "rows": ([{"pwd": "hunter2"}], "[{pwd: •••}]"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_neither_in_an_artifact_nor_among_the_values(name: str) -> None:
    value, told = SECRETS[name]
    state = SessionState()
    keep(state, "log in", ended({name: value, "n": 1}))

    assert f"log in → {name}: {told}; n: 1" == state.artifacts[0].text
    assert {"n": 1} == state.values


def test_a_secret_in_a_goal_or_an_error_is_not_told() -> None:
    state = SessionState()
    keep(state, "use password=hunter2", ended({}))
    keep(state, "g", ExecutionResult(ok=False, outputs={}, status="failed", run_id="q"))

    assert ["use password=••• → done", "g → failed: no reason is known"] == [one.text for one in state.artifacts]
    assert "hunter2" not in state.model_dump_json()


def test_what_is_large_or_no_data_is_no_value() -> None:
    """It stays with its run; what else a run gave is there."""
    state = SessionState()
    odd = {"large": "x" * 5_000, "raw": b"x", "table": object(), "nan": float("nan"), "n": 1, "nothing": None}
    keep(state, "g", ended(odd))

    assert {"n": 1, "nothing": None} == state.values


def test_an_artifact_stays_short() -> None:
    state = SessionState()
    keep(state, "g" * 10_000, ended({f"output{n}": "x" * 10_000 for n in range(100)}))

    assert 2_000 > len(state.artifacts[0].text)
    assert state.artifacts[0].text.endswith("; and 92 more")
