"""The wire schema keeps to strict mode whatever the catalog, and a plan comes back from it as it was."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from planner.catalog import ActionCatalog, ActionSpec, Slot, make_ref
from planner.drafting.wire import from_wire, to_wire
from planner.drafting.wire_schema import TIGHT_ACTIONS, flat_schema, plan_schema, tight_schema, value_schema
from planner.limits import Limits
from planner.plan import CandidatePlan, PlanStep
from planner.plan.bindings import escape
from tests.support import strict_schema

LIMITS = Limits()


def spec(name: str, *inputs: Slot) -> ActionSpec:
    return ActionSpec(name, make_ref("action", name, "1"), "action", "1", inputs, (Slot("result"),))


RECURSIVE = {
    "$ref": "#/$defs/node",
    "$defs": {"node": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "array", "items": {"$ref": "#/$defs/node"}}]}},
}
SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "string"},
    {"type": "string", "format": "date", "minLength": 3},
    {"type": "integer", "minimum": 0},
    {"type": ["string", "null"]},
    {"enum": ["a", "b"]},
    {"enum": [1, "b", None]},
    {"enum": [str(at) for at in range(100)]},
    {"const": "x"},
    {"type": "array"},
    {"type": "array", "items": {"type": "string"}},
    {"type": "array", "items": {"type": "array"}},
    {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
    {"type": "array", "items": False},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {}}}}},
    {"anyOf": []},
    {"allOf": [{"type": "string"}]},
    {"oneOf": [{"type": "boolean"}, {"type": "object"}]},
    {"$ref": "#/$defs/gone"},
    RECURSIVE,
]
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
slots = st.builds(Slot, names, st.sampled_from(SCHEMAS), st.none(), st.booleans())
catalogs = st.lists(
    st.builds(
        lambda name, inputs: spec(name, *inputs), names, st.lists(slots, max_size=5, unique_by=lambda slot: slot.name)
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda action: action.name,
)


@given(catalogs)
def test_both_schemas_keep_to_strict_mode(specs: list[ActionSpec]) -> None:
    """At most five levels, everything closed and required, no keyword that providers do not know."""
    for schema in (tight_schema(specs), flat_schema(specs), plan_schema(specs).schema):
        assert strict_schema.faults(schema) == []
        jsonschema_rs.validator_for(schema)


@given(st.dictionaries(names, slots, min_size=1, max_size=8))
def test_the_schema_of_a_users_values_keeps_to_strict_mode(fields: dict[str, Slot]) -> None:
    """Each may be null."""
    schema = value_schema(fields).schema

    assert strict_schema.faults(schema) == []
    assert jsonschema_rs.is_valid(schema, dict.fromkeys(fields))


def test_the_check_of_strict_mode_notices_what_it_is_for() -> None:
    """Otherwise the tests above would show nothing."""
    six: dict[str, Any] = {"type": "string"}
    for _ in range(6):
        six = {"type": "object", "properties": {"a": six}, "required": ["a"], "additionalProperties": False}
    bad = [
        {"anyOf": [six]}, six, {"type": "object", "properties": {}}, {**six, "minProperties": 1},
        {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": {"type": "null"}}, "required": [], "additionalProperties": False},
    ]  # fmt: skip

    assert [schema for schema in bad if not strict_schema.faults(schema)] == []


@pytest.mark.parametrize(("count", "tight"), [(1, True), (TIGHT_ACTIONS, True), (TIGHT_ACTIONS + 1, False)])
def test_many_actions_get_the_flat_schema(count: int, tight: bool) -> None:  # noqa: FBT001 -- a row of a table
    """A branch for each would cost too many tokens."""
    step = plan_schema([spec(f"a{at}", Slot("x")) for at in range(count)]).schema["properties"]["steps"]["items"]

    assert (step.get("type") != "object" or step["properties"]["inputs"]["type"] == "object") is tight


def test_a_few_actions_with_more_inputs_than_providers_take_get_the_flat_schema() -> None:
    """The bounds are on the whole schema."""
    wide = [spec(f"a{at}", *(Slot(f"x{number}") for number in range(200))) for at in range(25)]

    assert plan_schema(wide).schema == flat_schema(wide)


def test_the_tight_schema_cannot_say_what_does_not_exist(catalog: ActionCatalog) -> None:
    """Neither another action nor another input, nor a value outside an enumeration."""
    schema = tight_schema(list(catalog))
    good = {"id": "a", "action": "load_table", "inputs": {"path": {"ref": "user.p"}, "limit": None}, "control": None}
    bad: list[dict[str, Any]] = [
        {**good, "action": "load"},
        {**good, "inputs": {"path": "x", "limit": 3, "more": 1}},
        {**good, "inputs": {"path": "x", "limit": "3"}},
        {**good, "inputs": {"limit": None}},
    ]
    answers = [{"assumptions": [], "steps": [step], "outputs": []} for step in (good, *bad)]

    assert [jsonschema_rs.is_valid(schema, answer) for answer in answers] == [True, False, False, False, False]


def read(answer: Any, specs: list[ActionSpec] | None = None) -> CandidatePlan:
    known = {one.name: one for one in specs or []}
    return CandidatePlan.from_dict(from_wire(answer, known.get, LIMITS))


TEXTS = st.text(alphabet="a $\\{}.[]0\"'é", max_size=8).map(escape)
BINDINGS = st.sampled_from(["${a}", "${a.x}", "${user.key}", "${user.deep[0].name}", '${b["odd key"]}', "${item.z}"])
TEMPLATES = st.tuples(st.text("xy ", min_size=1, max_size=4), BINDINGS, st.text("xy ", max_size=4)).map("".join)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | TEXTS | BINDINGS | TEMPLATES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "l", "ref", "$defs"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def is_mistakable(value: Any) -> bool:
    """An object with the one key `ref`, `text` or `json` is a mark of the wire form and cannot be a literal in it."""
    if isinstance(value, list):
        return any(map(is_mistakable, value))
    if not isinstance(value, dict):
        return False
    return (len(value) == 1 and "ref" in value) or any(map(is_mistakable, value.values()))


STEPS = st.builds(
    lambda inputs, each, after, optional: PlanStep.from_dict(
        {"id": "b", "action": "act", "inputs": inputs, "for_each": each, "after": after, "optional": optional}
    ),
    st.dictionaries(st.sampled_from(["x", "y", "in put"]), VALUES, max_size=3),
    st.none() | BINDINGS | st.lists(st.integers(), min_size=1, max_size=2),
    st.lists(st.just("a") | st.just({"step": "a", "required": False}), max_size=2),
    st.booleans(),
)


@given(STEPS.filter(lambda step: not is_mistakable(step.inputs)), st.dictionaries(st.just("out"), BINDINGS))
def test_a_plan_comes_back_from_the_wire_as_it_was(step: PlanStep, outputs: dict[str, str]) -> None:
    """Literals, bindings and texts with bindings in them, at any depth."""
    plan = CandidatePlan(steps=(PlanStep(id="a", action="act"), step), outputs=outputs)
    slots = [Slot(name, {}) for name in step.inputs]

    assert read(json.loads(json.dumps(to_wire(plan))), [spec("act", *slots)]) == plan


def test_a_literal_of_the_wire_form_cannot_become_a_binding() -> None:
    """What a user typed may be in it."""
    inputs = {
        "a": "${user.password}", "b": ["${user.password}"], "c": {"text": ["${user.", "password}"]},
        "d": {"json": '{"deep": ["${user.password}"]}'}, "e": {"deep": "${user.password}"},
    }  # fmt: skip

    plan = read({"steps": [{"id": "s", "action": "act", "inputs": inputs, "control": None}]})

    assert "$${user.password}" in plan.steps[0].inputs["c"]
    assert "${user.password}" not in json.dumps(plan.steps[0].inputs).replace("$${", "")


def test_references_are_read_in_every_place() -> None:
    """In values, lists, texts, JSON text, control and outputs."""
    control = {
        "for_each": {"ref": "a.items"},
        "when": {"ref": "a.total", "op": "gt", "value": {"ref": "user.min"}},
        "after": [{"step": "a", "required": True}, {"step": "c", "required": False}],
        "optional": True,
    }
    inputs = {
        "one": {"ref": "a.x"}, "list": [1, {"ref": "item.y"}], "text": {"text": ["for ", {"ref": "user.city"}, "!"]},
        "json": {"json": '{"k": [{"ref": "a.z"}, {"ref": "main"}]}'}, "price": {"text": ["$", {"ref": "a.p"}]},
    }  # fmt: skip
    step = {"id": "b", "action": "act", "inputs": inputs, "control": control}
    wire = {"assumptions": ["x"], "steps": [{"id": "a", "action": "act", "inputs": {}, "control": None}, step]}

    plan = read({**wire, "outputs": [{"name": "out", "ref": "b.one"}]})

    read_step = plan.steps[1].to_dict()
    assert read_step["inputs"] == {
        "one": "${a.x}",
        "list": [1, "${item.y}"],
        "text": "for ${user.city}!",
        "json": {"k": ["${a.z}", {"ref": "main"}]},
        "price": "$$${a.p}",  # a dollar, then a binding
    }
    assert read_step["when"] == {"ref": "${a.total}", "op": "gt", "value": "${user.min}"}
    assert (read_step["for_each"], read_step["optional"]) == ("${a.items}", True)
    assert read_step["after"] == ["a", {"step": "c", "required": False}]
    assert (plan.outputs, plan.extras) == ({"out": "${b.one}"}, {"assumptions": ["x"]})


def test_inputs_as_a_list_are_read() -> None:
    """The flat schema asks for them, and models have forms of their own."""
    inputs = [
        {"name": "a", "value": {"ref": "s.x"}},
        {"name": "b", "value": "lit"},
        {"name": "c", "kind": "step", "ref": "s.y", "value_json": None},
        {"name": "d", "kind": "literal", "ref": None, "value_json": "[1, 2]"},
    ]

    plan = read({"steps": [{"id": "t", "action": "act", "inputs": inputs, "control": None}]})

    assert plan.steps[0].inputs == {"a": "${s.x}", "b": "lit", "c": "${s.y}", "d": [1, 2]}


def test_null_stands_for_an_input_that_is_left_out() -> None:
    """Strict mode requires every input to be there; one that is required and null was meant so."""
    act = spec("act", Slot("must", {"type": ["string", "null"]}), Slot("may", {"type": "string"}, required=False))
    wire = {"id": "s", "action": "act", "inputs": {"must": None, "may": None}, "control": None}

    assert read({"steps": [wire]}, [act]).steps[0].inputs == {"must": None}


def test_a_plan_in_its_own_json_is_read_as_it_is() -> None:
    """Models without a strict schema know this form from elsewhere."""
    plan = {
        "steps": [{"id": "s", "action": "act", "inputs": {"x": "${user.a}", "y": None}, "when": {"ref": "${user.b}"}}]
    }

    assert read(plan).to_dict()["steps"][0]["inputs"] == {"x": "${user.a}", "y": None}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ref", "json", "text", "name", "value", "inputs", "id", "control", "when"]), inner
        )
    ),
    max_leaves=15,
)


@given(st.lists(ANY, max_size=3), ANY, ANY)
def test_no_answer_breaks_the_reading_of_it(steps: list[Any], inputs: Any, control: Any) -> None:
    """What it cannot read it leaves for decoding to report."""
    step = {"id": "s", "action": "act", "inputs": inputs, "control": control}
    wire = from_wire({"steps": [*steps, step], "outputs": control}, {}.get, LIMITS)

    assert len(wire["steps"]) == len(steps) + 1


def test_json_text_inside_an_answer_is_bounded() -> None:
    """It must not be a way around the bound on nesting; what is no JSON stays text."""
    deep = "[" * 5_000
    inputs = {
        "deep": {"json": deep},
        "prose": {"json": "see [1] for it"},
        "word": {"json": "north"},
        "mended": {"json": "[1,]"},
    }

    plan = read({"steps": [{"id": "s", "action": "act", "inputs": inputs, "control": None}]})

    assert plan.steps[0].inputs == {"deep": deep, "prose": "see [1] for it", "word": "north", "mended": [1]}


def test_pydantic_types_become_strict_inputs() -> None:
    """The schemas that real signatures give."""
    kinds = [dict[str, int], list[dict[str, str]], int | None, list[int] | str, tuple[int, str], set[str], bytes]
    actions = [spec(f"a{at}", Slot("x", TypeAdapter(kind).json_schema())) for at, kind in enumerate(kinds)]

    assert strict_schema.faults(tight_schema(actions)) == []
