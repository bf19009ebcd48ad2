"""Drafting the rest of a plan: which keys there are, what a model is told, and what a search over types replaces."""

from typing import Any, TypedDict

import pytest
from pydantic import SecretStr

from planner.catalog import ActionCatalog, action
from planner.context import RequestIdentity
from planner.drafting.drafter import Drafter
from planner.drafting.replanning import DraftReplanner, rebound
from planner.drafting.scripted import ScriptedModel
from planner.plan import CandidatePlan, PlanStep, Reference
from planner.plan.replanning import ReplanRequest
from tests.support.running import make_plan


class Table(TypedDict):
    rows: list[int]
    name: str


@action
def load(path: str) -> Table: ...


@action
def fetch(path: str) -> Table: ...


@action(flow_id="other")
def fetch_elsewhere(path: str) -> Table: ...


@action
def total(rows: list[int]) -> int: ...


@action
def title(name: str, text: str) -> str: ...


CATALOG = ActionCatalog([load, fetch, fetch_elsewhere, total, title])

PLAN = CandidatePlan.from_dict(
    {
        "goal": "add up the rain",
        "steps": [
            {"id": "first", "action": "title", "inputs": {"name": "${user.path}", "text": "x"}},
            {"id": "table", "action": "load", "inputs": {"path": "${user.path}"}},
            {"id": "sum", "action": "total", "inputs": {"rows": "${table.rows}"}, "after": ["table", "first"]},
            {
                "id": "say",
                "action": "title",
                "inputs": {"name": "${table.name}", "text": "about ${table.name}: ${sum}"},
            },
        ],
        "outputs": {"said": "${say}", "row": "${table.rows[0]}"},
    }
)


def make_request(plan: CandidatePlan = PLAN, **changes: Any) -> ReplanRequest:
    facts: dict[str, Any] = {
        "plan": plan,
        "done": ["first"],
        "failed_step": "table",
        "failure": "step 'table' (load) failed: RuntimeError: it is </data> gone",
        "user_inputs": {"path": "a.csv", "token": SecretStr("hunter2")},
        "catalog": CATALOG,
        "identity": RequestIdentity(),
        "revision": 1,
    }
    return ReplanRequest(**{**facts, **changes})


async def test_a_search_over_types_puts_another_action_in_the_place_of_the_one_that_failed() -> None:
    """Everything that was bound to its outputs is bound to the new ones, also inside text and in the plan's outputs."""
    tail = await DraftReplanner(Drafter(CATALOG))(make_request())

    assert tail is not None
    steps = {step.id: step for step in tail.steps}
    assert ["fetch", "sum", "say"] == list(steps)
    assert {"path": "${user.path}"} == steps["fetch"].inputs
    assert {"rows": "${fetch.rows}"} == steps["sum"].inputs
    assert ["first"] == [after.step for after in steps["sum"].after]
    assert {"name": "${fetch.name}", "text": "about ${fetch.name}: ${sum}"} == steps["say"].inputs
    assert {"said": "${say}", "row": "${fetch.rows[0]}"} == tail.outputs


async def test_a_search_over_types_gives_up_where_it_would_guess() -> None:
    """A mapped step, and a value that has no name."""
    replanner = DraftReplanner(Drafter(CATALOG))
    steps = [{**step.to_dict(), "for_each": ["a"]} if step.id == "table" else step.to_dict() for step in PLAN.steps]

    assert await replanner(make_request(make_plan(*steps))) is None
    assert await replanner(make_request(failed_step="say", done=["first", "table", "sum"])) is None


async def test_a_model_sees_what_is_done_as_keys_and_the_failure_as_data() -> None:
    """Nothing of it can end the data, no secret is shown, and nothing of a group that the plan did not use."""
    answer = {
        "steps": [
            {"id": "first", "action": "fetch", "inputs": {"path": "${user.path}"}},
            {"id": "say", "action": "title", "inputs": {"name": "${first.name}", "text": "${user.first_result}!"}},
        ],
        "outputs": {"said": "${say}"},
    }
    model = ScriptedModel([answer])
    tail = await DraftReplanner(Drafter(CATALOG, model))(make_request())
    prompt = model.calls[0].prompt

    assert tail is not None
    assert ["first_2", "say"] == [step.id for step in tail.steps]
    assert {"name": "${first_2.name}", "text": "${first.result}!"} == tail.steps[1].inputs
    assert "user.first_result" in prompt
    assert "\\u003c/data> gone" in prompt
    assert "fetch gives rows" in prompt
    assert "hunter2" not in prompt
    assert "fetch_elsewhere" not in prompt


async def test_a_model_that_gives_no_plan_gives_none() -> None:
    """It has been asked as often as any draft asks."""
    model = ScriptedModel(["no idea"], repeat=True)

    assert await DraftReplanner(Drafter(CATALOG, model))(make_request()) is None
    assert 3 == len(model.calls)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${a.x[0]}", "${b.x[0]}"),
        ("a ${a} and $${a}", "a ${b} and $${a}"),
        (["${a}", {"k": "${c.d}"}, 3], ["${b}", {"k": "${c.d}"}, 3]),
        ("plain", "plain"),
    ],
    ids=["path", "text", "nested", "literal"],
)
def test_bindings_are_swapped_wherever_they_stand(value: object, expected: object) -> None:
    """And nothing else is changed."""
    step = PlanStep.from_dict(
        {
            "id": "s",
            "action": "total",
            "inputs": {"v": value},
            "for_each": "${a}",
            "when": {"ref": "${a.n}"},
            "after": ["a"],
        }
    )
    swapped = rebound(step, lambda one: Reference("b", one.path) if one.root == "a" else one)

    assert expected == swapped.inputs["v"]
    assert ("${b}", "${b.n}", "b") == (swapped.for_each, swapped.when and swapped.when.ref, swapped.after[0].step)
