"""Whether values of one schema fit another, and what lies below one."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from planner.catalog import Fit, at_path, compile_schema, fits
from planner.catalog.signature import close_objects

TEXT, WHOLE, NUMBER, NULL, ANY = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "null"}, {}
BY_PATTERN = {"type": "object", "patternProperties": {"^a": WHOLE}, "additionalProperties": False}
FRAME, IMAGE = {"x-python-type": "pandas.DataFrame"}, {"x-python-type": "PIL.Image"}


def array(items: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": "array", **more} if items is None else {"type": "array", "items": items, **more}


def record(required: str = "", *, closed: bool = False, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required.split()}
    return schema | {"additionalProperties": False} if closed else schema


def mapping(values: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def either(*alternatives: Any, **more: Any) -> dict[str, Any]:
    return {"anyOf": list(alternatives), **more}


YES, NO, UNKNOWN = Fit.YES, Fit.NO, Fit.UNKNOWN

CASES: list[tuple[Any, Any, Fit]] = [
    # plain types
    (WHOLE, NUMBER, YES),
    (NUMBER, WHOLE, UNKNOWN),
    (WHOLE, TEXT, NO),
    ({"type": "boolean"}, WHOLE, NO),
    (TEXT, ANY, YES),
    (ANY, TEXT, UNKNOWN),
    (ANY, ANY, YES),
    (TEXT, {"title": "Name", "description": "a name", "default": ""}, YES),
    (TEXT, {"type": ["string", "null"]}, YES),
    ({"type": ["string", "null"]}, TEXT, UNKNOWN),
    (NULL, TEXT, NO),
    (NULL, {"const": None}, YES),
    # what is narrower than its type
    (WHOLE, {"type": "integer", "minimum": 3}, UNKNOWN),
    ({"type": "integer", "minimum": 3}, WHOLE, YES),
    ({"type": "integer", "minimum": 3}, {"type": "number", "minimum": 3}, YES),
    (TEXT, {"type": "string", "format": "date"}, UNKNOWN),
    ({"type": "string", "format": "date"}, TEXT, YES),
    ({"type": "string", "format": "binary"}, TEXT, UNKNOWN),
    (TEXT, {"type": "string", "not": {"const": ""}}, UNKNOWN),
    (TEXT, {"minLength": 2}, UNKNOWN),
    # enumerations
    ({"enum": ["a", "b"]}, TEXT, YES),
    ({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}, YES),
    ({"enum": ["a", "b"]}, {"enum": ["b", "c"]}, UNKNOWN),
    ({"enum": ["a", "b"]}, {"enum": ["c"]}, NO),
    ({"enum": ["a", 1]}, TEXT, UNKNOWN),
    (TEXT, {"enum": ["a"]}, UNKNOWN),
    (WHOLE, {"enum": ["a"]}, NO),
    ({"const": 1}, {"const": True}, NO),
    ({"type": "string", "format": "date"}, {"enum": ["today"]}, NO),
    # alternatives
    (either(TEXT, WHOLE), either(WHOLE, NULL, TEXT), YES),
    (either(TEXT, WHOLE), TEXT, UNKNOWN),
    (either(TEXT, WHOLE), NULL, NO),
    (TEXT, either(WHOLE, NULL), NO),
    (WHOLE, either(TEXT, NUMBER), YES),
    (WHOLE, either(WHOLE, minimum=5), UNKNOWN),
    (WHOLE, {"oneOf": [WHOLE, NUMBER]}, UNKNOWN),
    (WHOLE, {"oneOf": [TEXT, NUMBER]}, YES),
    (WHOLE, {"oneOf": [TEXT, NULL]}, NO),
    (TEXT, {"allOf": [TEXT]}, YES),
    (TEXT, {"allOf": [TEXT, {"maxLength": 5}]}, UNKNOWN),
    (TEXT, {"allOf": [TEXT, WHOLE]}, NO),
    (TEXT, {"anyOf": [TEXT], "oneOf": [WHOLE]}, NO),
    # lists
    (array(WHOLE), array(NUMBER), YES),
    (array(WHOLE), array(TEXT), NO),
    (array(), array(TEXT), UNKNOWN),
    (array(TEXT), array(), YES),
    (array(TEXT), array(TEXT, minItems=1), UNKNOWN),
    (array(TEXT), TEXT, NO),
    (array(prefixItems=[WHOLE, WHOLE], minItems=2, maxItems=2), array(NUMBER), YES),
    (array(prefixItems=[WHOLE, TEXT], minItems=2, maxItems=2), array(NUMBER), NO),
    (array(WHOLE), array(prefixItems=[WHOLE, WHOLE], minItems=2, maxItems=2), UNKNOWN),
    (array(WHOLE), array(prefixItems=[WHOLE], items=False), UNKNOWN),
    (array(WHOLE, minItems=2), array(prefixItems=[WHOLE], items=False), NO),
    # objects
    (record("a", a=WHOLE), record("a", a=NUMBER), YES),
    (record("a", a=WHOLE), record("a", a=TEXT), NO),
    (record("a", a=WHOLE), {"properties": {"a": TEXT}}, NO),
    (record(a=WHOLE), record(a=TEXT), UNKNOWN),
    (record(a=WHOLE), record("a", a=TEXT), NO),
    (record(a=WHOLE), record("a", a=WHOLE), UNKNOWN),
    (record(), record("a", a=WHOLE), UNKNOWN),
    (record(closed=True), record("a", a=WHOLE), NO),
    (record("a b", closed=True, a=WHOLE, b=TEXT), record("a", a=WHOLE), YES),
    (record("a b", a=WHOLE, b=TEXT), record("a", closed=True, a=WHOLE), NO),
    (record("a", a=WHOLE), record("a", closed=True, a=WHOLE), UNKNOWN),
    (record("a", closed=True, a=WHOLE), record("a", closed=True, a=WHOLE, b=TEXT), YES),
    (record("a", a=WHOLE), record("a", a=WHOLE, b=TEXT), UNKNOWN),
    (record("a", closed=True, a=WHOLE), mapping(NUMBER), YES),
    (record("a", closed=True, a=WHOLE), mapping(TEXT), NO),
    (mapping(WHOLE), mapping(NUMBER), YES),
    (mapping(WHOLE), mapping(TEXT), NO),
    (mapping(WHOLE), mapping({}), YES),
    (mapping({}), mapping(WHOLE), UNKNOWN),
    (mapping(WHOLE), record("a", a=TEXT), NO),
    (mapping(WHOLE), record(a=WHOLE), YES),
    (BY_PATTERN, record("a", a=WHOLE), UNKNOWN),
    (record("a", closed=True, a=WHOLE), BY_PATTERN, UNKNOWN),
    ({"type": "object"}, array(), NO),
    # never, and Python types with a codec
    (TEXT, False, NO),
    (False, TEXT, NO),
    (FRAME, FRAME, YES),
    (FRAME, IMAGE, UNKNOWN),
    (FRAME, TEXT, NO),
    (TEXT, FRAME, NO),
    (FRAME, ANY, YES),
    (ANY, FRAME, UNKNOWN),
    (array(FRAME), array(FRAME), YES),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "fit"), CASES)
def test_schemas_are_compared_by_what_their_values_are(source: Any, target: Any, fit: Fit) -> None:
    """Only what can never fit is `NO`; what depends on the value is `UNKNOWN`."""
    assert fit is fits(*({"$defs": {"S": one}, "$ref": "#/$defs/S"} for one in (source, target)))
    if isinstance(source, dict) and isinstance(target, dict):
        assert fit is fits(source, target)


class Address(BaseModel):
    street: str
    number: int | None = None


class Person(BaseModel):
    name: str
    address: Address
    friends: "list[Person]" = []
    left: "Person | None" = None
    right: "Person | None" = None


@dataclass
class Card:
    name: str
    address: Address
    tags: list[str] = field(default_factory=list)


@dataclass
class Crew:
    members: list[Person]


class OtherPerson(BaseModel):
    name: str
    address: Address
    friends: "list[OtherPerson]" = []
    left: "OtherPerson | None" = None
    right: "OtherPerson | None" = None


class WrongPerson(BaseModel):
    name: str
    address: Address
    friends: "list[WrongPerson]" = []
    left: "WrongPerson | None" = None
    right: int


def given_as(kind: Any) -> dict[str, Any]:
    return close_objects(TypeAdapter(kind).json_schema(mode="serialization"))


@pytest.mark.parametrize(
    ("source", "target", "fit"),
    [
        (Person, Person, YES),
        (Person, OtherPerson, YES),
        (Person, WrongPerson, NO),
        (Card, Person, YES),
        (Address, Person, NO),
        (Crew, dict[str, Any], YES),
        (list[Person], list[OtherPerson], YES),
        (Person | None, Person, UNKNOWN),
        (Literal["a"], Literal["a", "b"], YES),
        (tuple[int, str], tuple[int, str], YES),
        (Annotated[int, Field(gt=0)], int, YES),
        (set[int], list[int], YES),
    ],
)
def test_python_types_are_compared_through_their_schemas(source: Any, target: Any, fit: Fit) -> None:
    """Recursive types too: they fit unless something in them does not, and comparing them ends."""
    assert fit is fits(given_as(source), TypeAdapter(target).json_schema())


def test_types_that_all_contain_each_other_are_compared_quickly() -> None:
    """As in a syntax tree; following every way through them would not end."""
    names = [f"N{at}" for at in range(12)]

    def grammar(last: Any) -> dict[str, Any]:
        expression = {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
        definitions = {name: record("kind", kind={"const": name}, a=expression, b=array(expression)) for name in names}
        definitions[names[-1]]["properties"]["value"] = last
        return {**expression, "$defs": definitions}

    assert [YES, UNKNOWN] == [fits(grammar(WHOLE), grammar(last)) for last in (NUMBER, TEXT)]


@pytest.mark.parametrize(
    ("kind", "path", "below"),
    [
        (Person, ("address", "number"), {"anyOf": [WHOLE, NULL]}),
        (Person, ("friends", 0, "left", "name"), TEXT),
        (Person, ("friends", "name"), None),
        (Person, ("nobody",), None),
        (Person, ("name", "length"), None),
        (Person, ("name", 0), None),
        (Person, (0,), None),
        (Person | None, ("name",), TEXT),
        (list[int], (5,), WHOLE),
        (tuple[int, str], (1,), TEXT),
        (dict[str, int], ("any thing",), WHOLE),
        (dict[str, Any], ("a", "b", 0), {}),
        (Any, ("a",), {}),
        (int | list[str], (0,), TEXT),
        (dict[Annotated[str, Field(pattern="^a")], int], ("abc",), {}),
    ],
)
def test_what_lies_at_a_path(kind: Any, path: tuple[str | int, ...], below: dict[str, Any] | None) -> None:
    """`None` when nothing can be there, `{}` when it cannot be told."""
    found = at_path(given_as(kind), path)

    assert below == (found and {key: value for key, value in found.items() if key not in {"title", "default", "$defs"}})


def test_nothing_lies_below_a_python_type_with_a_codec() -> None:
    """Bindings look into lists and objects, never into attributes."""
    assert [None, None] == [at_path(FRAME, ("columns",)), at_path(array(FRAME), (0, 0))]


def test_what_lies_below_a_recursive_schema_can_be_used_alone() -> None:
    """It brings the definitions that it refers to."""
    below = at_path(given_as(Crew), ("members", 0))

    assert below is not None
    assert compile_schema(below).is_valid({"name": "a", "address": {"street": "b", "number": 1}, "friends": []})
    assert not compile_schema(below).is_valid({"name": "a", "address": {"street": 5}})


@pytest.mark.parametrize(
    ("kind", "text", "valid"),
    [
        ("date-time", "2026-05-01T10:00:00Z", True),
        ("date-time", "2026-05-01T10:00:00", True),
        ("date-time", "2026-05-01", False),
        ("date-time", "soon", False),
        ("time", "10:30", True),
        ("time", "10:30:00+02:00", True),
        ("time", "ten", False),
        ("date", "2026-13-01", False),
        ("uuid", "x", False),
        ("made-up", "x", True),
    ],
)
def test_formats_are_checked_and_times_need_no_offset(kind: str, text: str, *, valid: bool) -> None:
    """RFC 3339 asks for one; pydantic, people and models do not."""
    assert valid == compile_schema({"type": "string", "format": kind}).is_valid(text)


LEAVES = [TEXT, WHOLE, NUMBER, {"type": "boolean"}, NULL, ANY, {"enum": ["a", 1]}, {"enum": ["a", "b"]}]
LEAVES += [{"type": "integer", "minimum": 2}, {"type": "string", "maxLength": 1}]
SCHEMAS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.builds(array, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: either(*parts)),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"oneOf": parts}),
        st.builds(
            lambda properties, required, *, closed: record(
                " ".join(sorted(properties.keys() & required)), closed=closed, **properties
            ),
            st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            st.sets(st.sampled_from("ab")),
            closed=st.booleans(),
        ),
    ),
    max_leaves=5,
)
SCALARS = [None, True, 0, 1, 3, 1.5, "", "a", "b", "long"]
VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=4,
)


@given(SCHEMAS, SCHEMAS, st.lists(VALUES, min_size=30, max_size=30))
def test_the_answer_agrees_with_every_value(source: dict[str, Any], target: dict[str, Any], values: list[Any]) -> None:
    """Fits: whatever is valid here is valid there. Cannot fit: nothing is valid in both (empty lists aside)."""
    fit = fits(source, target)
    assume(fit is not UNKNOWN)
    here, there = compile_schema(source), compile_schema(target)
    valid = [(there.is_valid(value), value) for value in values if here.is_valid(value)]

    if fit is YES:
        assert [] == [value for fitting, value in valid if not fitting]
    else:
        assert [] == [value for fitting, value in valid if fitting]


@given(SCHEMAS)
def test_a_schema_never_cannot_fit_itself(schema: dict[str, Any]) -> None:
    """Nor `{}`; the same words give the same answer whatever they describe."""
    again = {"description": "the same", **schema}

    assert YES is fits(schema, schema)
    assert fits(schema, again) is not NO
    assert YES is fits(schema, ANY)
    assert fits(ANY, schema) is not NO
