"""A plan's missing values become a form, and one question."""

from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypeAliasType

from planner.catalog import ActionCatalog, Semantic, action, compile_schema
from planner.drafting.form import asks_for_a_secret, input_form, kind_text, question_text, unfillable
from planner.drafting.input_parser import InputParser
from planner.plan import CandidatePlan


class Passenger(BaseModel):
    name: str
    born: date


@action
async def find(
    origin: Annotated[str, Semantic("airport_code")],
    day: Annotated[date, Field(description="when to fly")],
    cabin: Literal["economy", "business"] = "economy",
    seats: int = 1,
) -> list[str]:
    """Find flights."""
    raise NotImplementedError


@action
async def book(who: Passenger, price: float, note: str = "", password: SecretStr | None = None) -> str:
    """Book one."""
    raise NotImplementedError


def colliding() -> Any:
    class Passenger(BaseModel):
        age: int

    @action
    async def check(who: Passenger, group: list[Passenger]) -> bool:
        """Look at somebody."""
        raise NotImplementedError

    return check


CATALOG = ActionCatalog([find, book, colliding()])


def form(keys: list[str], *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = input_form(CandidatePlan.from_dict({"steps": list(steps), **more}), keys, CATALOG)
    compile_schema(made)
    return made


def step(name: str, inputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"id": name, "action": name, "inputs": inputs or {}, **more}


def valid(made: dict[str, Any], **values: Any) -> bool:
    return compile_schema(made).is_valid(values)


def test_a_form_says_what_each_key_has_to_be() -> None:
    """In the order that is given, all required, with the slots' descriptions."""
    made = form(["day", "from_where"], step("find", {"origin": "${user.from_where}", "day": "${user.day}"}))

    assert list(made["properties"]) == made["required"] == ["day", "from_where"]
    assert made["properties"]["day"] == {
        "type": "string",
        "format": "date",
        "title": "Day",
        "description": "when to fly",
    }
    assert made["properties"]["from_where"] == {
        "type": "string",
        "title": "From where",
        "description": "airport code",
    }
    assert valid(made, day="2026-11-20", from_where="OSL")
    assert not valid(made, day="soon", from_where="OSL")
    assert not valid(made, day="2026-11-20")


def test_a_key_that_is_bound_at_several_places_fits_all() -> None:
    """The narrower schema is enough where one follows from the other."""
    made = form(["n"], step("find", {"seats": "${user.n}"}), step("book", {"price": "${user.n}"}))
    both = form(["x"], step("find", {"cabin": "${user.x}", "day": "${user.x}"}))

    assert made["properties"]["n"]["type"] == "integer"
    assert len(both["properties"]["x"]["allOf"]) == 2


def test_definitions_of_one_name_do_not_mix() -> None:
    """Two classes may be called alike."""
    made = form(
        ["a", "b", "c", "d"],
        step("book", {"who": "${user.a}"}),
        step("check", {"who": "${user.b}", "group": "${user.c}"}),
        step("find", {"origin": "${item.code}"}, for_each="${user.d}"),
    )
    grown, young = {"name": "Ann", "born": "1990-01-01"}, {"age": 3}

    assert valid(made, a=grown, b=young, c=[young], d=[{"code": "OSL"}])
    for wrong in ({"a": young}, {"b": grown}, {"c": [grown]}, {"d": [{}]}, {"d": ["OSL"]}):
        assert not valid(made, **{"a": grown, "b": young, "c": [young], "d": [{"code": "OSL"}], **wrong})


def recursive(name: str, **properties: Any) -> dict[str, Any]:
    node = {"type": "object", "properties": {"next": {"$ref": f"#/$defs/{name}"}, **properties}}
    return {"$ref": f"#/$defs/{name.replace('/', '~1')}", "$defs": {name: node}}


def test_references_are_followed_to_where_their_definitions_went() -> None:
    """Recursive types cannot be written out, so they stay references."""
    spec = CATALOG.get_action_by_name("find")
    assert spec is not None
    schemas = [recursive("Node", value={"type": "integer"}), recursive("Node", value={"type": "string"})]
    slots = [replace(spec.inputs[0], name=name, schema=schema) for name, schema in zip("ab", schemas, strict=True)]
    catalog = ActionCatalog([replace(spec, inputs=tuple(slots))])
    plan = CandidatePlan.from_dict({"steps": [step("find", {"a": "${user.a}", "b": "${user.b}"})]})
    made = input_form(plan, ["a", "b"], catalog)

    assert set(made["$defs"]) == {"Node", "Node_2"}
    assert valid(made, a={"value": 1, "next": {"value": 2}}, b={"value": "x", "next": {"value": "y"}})
    assert not valid(made, a={"value": 1, "next": {"value": "x"}}, b={"value": "x"})
    assert not valid(made, a={"value": 1}, b={"value": "x", "next": {"value": 1}})


PLACES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a path": (step("find", {"seats": "${user.k.seats}"}), {"seats": 2}, {"seats": "two"}),
    "a position": (step("find", {"seats": "${user.k[0]}"}), [2], []),
    "inside an object": (step("book", {"who": {"name": "Ann", "born": "${user.k}"}}), "1990-01-01", "young"),
    "inside a text": (step("book", {"note": "Dear ${user.k}, hello"}), "Ann", ["Ann"]),
    "a list to go through": (step("find", {"seats": "${item}"}, for_each="${user.k}"), [1, 2], ["one"]),
    "a condition": (step("find", when={"ref": "${user.k}", "op": "gt", "value": 3}), 4, "four"),
}


@pytest.mark.parametrize(("one", "right", "wrong"), PLACES.values(), ids=PLACES.keys())
def test_a_key_has_to_be_what_its_place_makes_of_it(one: dict[str, Any], right: Any, wrong: Any) -> None:
    """A binding is not always a whole input."""
    made = form(["k"], one)

    assert valid(made, k=right)
    assert not valid(made, k=wrong)


async def test_the_parser_knows_the_same_places() -> None:
    """What the form asks for is what an answer is read as."""
    plan = CandidatePlan.from_dict({"steps": [step("find", {"seats": "${user.trip.seats}", "day": "${user.day}"})]})
    parser = InputParser(catalog=CATALOG)
    message = 'trip: {"seats": "many"}\nday: 2026-11-20'
    parsed = await parser.parse_message_for_fields(message=message, missing_keys=["trip", "day"], plan=plan)

    assert (parsed.values, parsed.missing_keys) == ({"day": "2026-11-20"}, {"trip"})


SECRETS: dict[str, tuple[str, dict[str, Any]]] = {
    "by the key": ("api_token", step("book", {"note": "${user.api_token}"})),
    "by the type": ("x", step("book", {"password": "${user.x}"})),
    "in a text": ("x", step("book", {"password": "Bearer ${user.x}"})),
    "without a place": ("password", step("find")),
}


@pytest.mark.parametrize(("key", "one"), SECRETS.values(), ids=SECRETS.keys())
def test_secrets_are_marked(key: str, one: dict[str, Any]) -> None:
    """So that whoever shows the form hides what is typed."""
    made = form([key], one)
    node = made["properties"][key]

    assert (node["writeOnly"], node["format"]) == (True, "password")
    assert asks_for_a_secret(made)
    assert "secret" in question_text(made)


def test_what_is_no_secret_is_not_marked() -> None:
    """Most keys are none."""
    assert not asks_for_a_secret(form(["day"], step("find", {"day": "${user.day}"})))


def test_keys_that_nothing_tells_about_are_asked_for_all_the_same() -> None:
    """The action is unknown, or the plan does not bind it."""
    made = form(["a", "b"], {"id": "s", "action": "gone", "inputs": {"x": "${user.a}", "y": "${"}})

    assert made["properties"] == {"a": {"title": "A"}, "b": {"title": "B"}}
    assert question_text(made) == "To go on I need: a, b."


def test_the_question_is_one_sentence() -> None:
    """With type and meaning of each key."""
    made = form(["origin", "day"], step("find", {"origin": "${user.origin}", "day": "${user.day}"}))

    assert question_text(made) == ("To go on I need: origin (airport code), day (date, like 2026-11-20; when to fly).")


def test_many_keys_are_a_list() -> None:
    """One a line."""
    inputs = {"origin": "${user.a}", "cabin": "${user.b}", "seats": "${user.c}"}
    made = form(["a", "b", "c", "d"], step("find", inputs), step("book", {"who": "${user.d}"}))

    assert question_text(made).splitlines() == [
        "To go on I need:",
        "- a (airport code)",
        "- b (one of economy, business)",
        "- c (whole number)",
        "- d (JSON object with name, born)",
    ]


def test_nothing_that_a_tool_says_breaks_the_question() -> None:
    """Descriptions come from whoever wrote the tool."""

    @action
    async def tool(
        x: Annotated[str, Field(description="first\n\n# Ignore this\n" + "long " * 100_000)],
        y: Literal["one\n- two", "three"],
    ) -> str:
        """Do it."""
        raise NotImplementedError

    plan = CandidatePlan.from_dict({"steps": [step("tool", {"x": "${user.a}", "y": "${user.b}"})]})
    for keys in (["a"], ["b"], ["c\nd"]):
        text = question_text(input_form(plan, keys, ActionCatalog([tool])))
        assert "\n" not in text
        assert len(text) < 300


Tree = TypeAliasType("Tree", "str | list[Tree]")
Forest = TypeAliasType("Forest", "int | dict[str, Forest] | list[Forest]")


def test_a_type_that_is_made_of_itself_is_named_as_far_as_it_is_not_too_deep() -> None:
    """Unions and lists may hold each other for ever."""

    @action
    async def grow(tree: Tree, forest: Forest) -> str:
        """Grow."""
        raise NotImplementedError

    plan = CandidatePlan.from_dict({"steps": [step("grow", {"tree": "${user.a}", "forest": "${user.b}"})]})
    asked = question_text(input_form(plan, ["a", "b"], ActionCatalog([grow])))

    assert "a (text or list, each a text or list)" in asked
    assert "b (whole number or JSON object or list" in asked


def test_of_a_type_that_is_many_a_few_are_named() -> None:
    """Each of them may be many again."""
    several = [{"const": at} for at in range(9)]

    assert question_text({"properties": {"k": {"anyOf": several[:3]}}}) == "To go on I need: k (0 or 1 or 2)."
    assert "6 or 7 or …)" in question_text({"properties": {"k": {"anyOf": several}}})


ROOTED = {"type": "object", "properties": {"of": {"type": "string"}, "below": {"$ref": "#/properties/of"}}}


@pytest.mark.parametrize("schema", [ROOTED, {"type": "array", "items": {"$ref": "#"}}], ids=["below", "itself"])
def test_a_schema_that_refers_to_its_own_root_is_left_out(schema: dict[str, Any]) -> None:
    """In a form it would refer to the form; what does not fit is found when the plan is checked."""
    spec = CATALOG.get_action_by_name("find")
    assert spec is not None
    catalog = ActionCatalog([replace(spec, inputs=(replace(spec.inputs[0], schema=schema),))])
    plan = CandidatePlan.from_dict({"steps": [step("find", {"origin": "${user.a}"})]})

    assert input_form(plan, ["a"], catalog)["properties"] == {"a": {"title": "A", "description": "airport code"}}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "integer"}, "a whole number"),
        ({"type": "string"}, "text"),
        ({"type": "string", "writeOnly": True, "format": "password"}, "text"),
        ({"type": "boolean"}, "yes or no"),
        ({"enum": ["left", "right"]}, "one of left, right"),
        ({"type": "array", "items": {"type": "integer"}}, "a list, each a whole number"),
        ({"type": "string", "format": "email"}, "an e-mail address"),
        ({}, "what is asked for"),
    ],
    ids=["integer", "text", "secret", "boolean", "enumeration", "list", "address", "anything"],
)
def test_what_a_value_has_to_be_is_said_as_people_say_it(schema: dict[str, Any], kind: str) -> None:
    assert kind == kind_text(schema)


NAMES: dict[str, Any] = {"type": "string"}
MAYBE: dict[str, Any] = {"anyOf": [NAMES, {"type": "null"}]}


@pytest.mark.parametrize(
    ("parts", "never"),
    [
        ([{"type": "integer"}, NAMES], True),
        ([{"$ref": "#/$defs/Thing"}, NAMES], True),
        ([{"type": ["integer", "null"]}, MAYBE], False),
        ([{"type": "integer"}, {"type": "number"}], False),
        ([{"$ref": "#/$defs/Thing"}, {"type": "object", "required": ["a"]}], False),
        ([MAYBE, NAMES], False),
        ([{}, NAMES], False),
    ],
    ids=["types", "reference", "both null", "numbers", "objects", "optional", "anything"],
)
def test_a_key_that_no_value_fits_is_found(parts: list[dict[str, Any]], never: bool) -> None:  # noqa: FBT001 - what is expected
    form = {"properties": {"k": {"allOf": parts}, "other": NAMES}, "$defs": {"Thing": {"type": "object"}}}

    assert (["k"] if never else []) == list(unfillable(form))
