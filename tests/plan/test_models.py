"""Plans as values: the shape that people and models exchange."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.catalog import ActionCatalog, ActionSpec, Slot
from planner.errors import InvalidPlan, UnknownAction
from planner.plan import After, CandidatePlan, Condition, PlanStep, resolve_step

SEED_STEP = {
    "id": "a",
    "action": "load",
    "action_ref": "graphfn:load@0.1.0",
    "inputs": {"x": 1},
    "extras": {"note": "n"},
}

FULL = {
    "goal": "report",
    "steps": [
        {"id": "load", "action": "load_table", "action_ref": None, "inputs": {"path": "${user.path}"}, "extras": {}},
        {
            "id": "plots",
            "action": None,
            "action_ref": "action:plot@1.0",
            "inputs": {"group": "${item}"},
            "extras": {},
            "for_each": "${load.groups}",
            "when": {"ref": "${load.total}", "op": "gt", "value": 0},
            "after": ["load", {"step": "mail", "required": False}],
            "optional": True,
            "priority": -1,
        },
    ],
    "extras": {"by": "me"},
    "outputs": {"files": ["${plots.files}"]},
}  # fmt: skip


def test_the_seeds_shape_is_read_and_written() -> None:
    """`id, action, action_ref, inputs, extras`, and a plan of `steps` and `extras`."""
    plan = {"steps": [SEED_STEP], "extras": {}}

    assert plan == CandidatePlan.from_dict(plan).to_dict()
    assert SEED_STEP == PlanStep.from_dict(SEED_STEP).to_dict()
    assert {"id": "a", "action": None, "action_ref": None, "inputs": {}, "extras": {}} == PlanStep(id="a").to_dict()


def test_every_field_is_read_and_written() -> None:
    """What is not set is not written."""
    plan = CandidatePlan.from_dict(FULL)

    assert FULL == plan.to_dict()
    assert (After(step="load"), After(step="mail", required=False)) == plan.steps[1].after
    assert Condition(ref="${load.total}", op="gt", value=0) == plan.steps[1].when
    assert plan.steps[1] == plan.step("plots")
    assert plan.step("nobody") is None


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"id": 3}, "id", "3"),
        ({"after": "b"}, "after", (After(step="b"),)),
        ({"after": ["b"]}, "after", (After(step="b"),)),
        ({"after": [After(step="b")]}, "after", (After(step="b"),)),
        ({"after": None, "inputs": None, "extras": None}, "inputs", {}),
    ],
)
def test_short_forms_that_models_write_are_read(given: dict[str, Any], field: str, value: object) -> None:
    """Numbers as ids, one name in `after`, and `null` for nothing."""
    assert value == getattr(PlanStep.from_dict({"id": "a", **given}), field)


def test_what_aethergraphs_models_add_to_a_plan_is_read() -> None:
    """`plan_version`, and `null` for an absent part."""
    plan = {"plan_version": "2", "steps": [{"id": "a", "action": "load"}], "extras": None, "outputs": None}

    assert {"steps": [PlanStep(id="a", action="load").to_dict()], "extras": {}} == CandidatePlan.from_dict(
        plan
    ).to_dict()


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({}, "id"),
        ({"id": True}, "id"),
        ({"id": None}, "id"),
        ({"id": "a", "input": {}}, "input"),
        ({"id": "a", "inputs": []}, "inputs"),
        ({"id": "a", "when": "${b.c}"}, "when"),
        ({"id": "a", "when": {"ref": "${b.c}", "op": "matches"}}, "op"),
        ({"id": "a", "after": [{"required": False}]}, "after"),
        ({"id": "a", "after": 5}, "after"),
    ],
)
def test_a_step_of_another_shape_is_refused_where_it_differs(step: dict[str, Any], field: str) -> None:
    """With pydantic's error, which is a `ValueError` and names the place."""
    with pytest.raises(ValueError, match=field):
        PlanStep.from_dict(step)


@pytest.mark.parametrize("data", [[], "plan", None, 5, [1, 2]])
def test_what_is_no_object_is_refused(data: Any) -> None:
    """As any other wrong shape."""
    for kind in (CandidatePlan, PlanStep):
        with pytest.raises(ValidationError):
            kind.from_dict(data)


def test_plans_are_frozen() -> None:
    """A change makes another plan."""
    plan = CandidatePlan.from_dict(FULL)

    for holder, field in ((plan, "goal"), (plan.steps[0], "id"), (plan.steps[1].when, "op")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(holder, field, "other")


def test_what_a_plan_writes_shares_nothing_with_it() -> None:
    """Changing the dictionary does not change the plan, however deep."""
    plan = CandidatePlan.from_dict(copy.deepcopy(FULL) | {"extras": {"deep": [{"a": []}]}})
    before, shape = plan.id, plan.to_dict()
    shape["steps"][0]["inputs"]["path"] = "other"
    shape["outputs"]["files"].append("x")
    shape["extras"]["deep"][0]["a"].append("x")

    assert [{"a": []}] == plan.extras["deep"]
    assert FULL["steps"] == plan.to_dict()["steps"]
    assert before == CandidatePlan.from_dict(plan.to_dict()).id


def test_deep_and_cyclic_values_are_written_without_recursion() -> None:
    """Validation refuses them; until then they must not end the process."""
    loop: list[Any] = []
    loop.append({"again": loop})
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    written = PlanStep(id="a", inputs={"loop": loop, "deep": deep}).to_dict()["inputs"]

    assert written["loop"] is written["loop"][0]["again"]
    assert written["loop"] is not loop
    while written["deep"]:
        written = {"deep": written["deep"][0]}
    assert [] == written["deep"]


def test_the_same_plan_has_the_same_id() -> None:
    """Whatever the order of its keys; another plan has another."""
    plan = CandidatePlan.from_dict(FULL)
    turned = CandidatePlan.from_dict(dict(reversed(FULL.items())))
    others = [FULL | {"goal": "other"}, FULL | {"steps": FULL["steps"][::-1]}, FULL | {"outputs": {}}]

    assert plan.id == turned.id == CandidatePlan.from_dict(json.loads(json.dumps(FULL))).id
    assert 4 == len({plan.id, *(CandidatePlan.from_dict(other).id for other in others)})
    assert plan.id.startswith("plan-")
    assert "plan-2f78accec4b70a3b" == CandidatePlan.from_dict({"steps": [{"id": "ä", "inputs": {"x": 1.5}}]}).id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=3)
STEPS = st.builds(
    PlanStep,
    id=st.text(),
    action=st.none() | st.text(),
    action_ref=st.none() | st.text(),
    inputs=OBJECTS,
    extras=OBJECTS,
    for_each=JSON,
    when=st.none() | st.builds(Condition, ref=st.text(), op=st.sampled_from(["eq", "exists", "truthy"]), value=JSON),
    after=st.lists(st.builds(After, step=st.text(), required=st.booleans()), max_size=2),
    optional=st.booleans(),
    priority=st.integers(),
)
PLANS = st.builds(CandidatePlan, steps=st.lists(STEPS, max_size=4), extras=OBJECTS, goal=st.text(), outputs=OBJECTS)


@given(PLANS)
def test_a_plan_reads_as_it_is_written(plan: CandidatePlan) -> None:
    """Also through JSON text; and it keeps its id."""
    again = CandidatePlan.from_dict(json.loads(json.dumps(plan.to_dict())))

    assert plan == CandidatePlan.from_dict(plan.to_dict()) == again
    assert plan.id == again.id


def catalog() -> ActionCatalog:
    return ActionCatalog(
        ActionSpec("load", f"action:load@{version}", "action", version, (), (Slot("result"),), flow_id=group)
        for version, group in (("1.0", "old"), ("2.0", None))
    )


def test_actions_are_resolved_to_names_and_references() -> None:
    """The name means the newest version, a reference the one that it names."""
    plan = CandidatePlan.from_dict(
        {"steps": [{"id": "a", "action": "load"}, {"id": "b", "action_ref": "graphfn:load@1.0"}]}
    )
    resolved = plan.resolve_actions(catalog())

    assert [("load", "action:load@2.0"), ("load", "action:load@1.0")] == [
        (step.action, step.action_ref) for step in resolved.steps
    ]
    assert resolved == resolved.resolve_actions(catalog())
    assert "action:load@1.0" == resolve_step(plan.steps[1], catalog()).ref


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ({"action": "lod"}, UnknownAction),
        ({}, UnknownAction),
        ({"action_ref": "action:load@9"}, UnknownAction),
        ({"action_ref": "load"}, ValueError),
        ({"action": "save", "action_ref": "action:load@1.0"}, InvalidPlan),
    ],
)
def test_what_cannot_be_resolved_is_an_error(step: dict[str, Any], error: type[Exception]) -> None:
    """A14: two different actions are never settled silently."""
    with pytest.raises(error):
        CandidatePlan.from_dict({"steps": [{"id": "a", **step}]}).resolve_actions(catalog())


def test_only_actions_of_the_groups_are_resolved() -> None:
    """By the group of the version that is named, not of the newest."""
    old = CandidatePlan.from_dict({"steps": [{"id": "a", "action_ref": "action:load@1.0"}]})

    assert "load" == old.resolve_actions(catalog(), flow_ids=["old"]).steps[0].action
    with pytest.raises(UnknownAction):
        old.resolve_actions(catalog(), flow_ids=["other"])


def test_a_copy_of_a_plan_that_was_changed_has_another_id() -> None:
    """An id is worked out once, and kept with the plan."""
    plan = CandidatePlan.from_dict({"steps": [{"id": "a", "action": "act"}]})
    known = plan.id
    changed = plan.model_copy(update={"goal": "another"})

    assert (known, CandidatePlan.from_dict(changed.to_dict()).id) == (plan.model_copy().id, changed.id)
    assert known != changed.id
