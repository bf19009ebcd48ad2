"""Values as they are stored, and back to the types that actions ask for."""

from collections import Counter, OrderedDict, UserDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, SecretBytes, SecretStr, TypeAdapter, computed_field

from planner.catalog import Codecs, conform, to_plain
from planner.catalog.values import ATOMS, Codec
from planner.errors import BindingError, UnstorableOutput

MOMENT = datetime(2026, 5, 1, 10, 30, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Level(StrEnum):
    HIGH = "high"


class Pair(NamedTuple):
    left: int
    right: str


class Inner(BaseModel):
    day: date
    colour: Colour = Colour.RED


class Outer(BaseModel, extra="allow"):
    inner: Inner
    many: list[Inner] = []
    hidden: int = Field(1, exclude=True)
    named: int = Field(2, serialization_alias="alias")

    @computed_field
    @property
    def twice(self) -> int:
        return 2 * self.named


class Rows(RootModel[list[Inner]]): ...


@dataclass
class Box:
    content: Any
    size: int = 1


class Config(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return {"a": 1}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([1, 2.5, True, None, "text", b"bytes"], [1, 2.5, True, None, "text", b"bytes"]),
        ((1, (2,)), [1, [2]]),
        (Pair(1, "a"), [1, "a"]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", 1}), ["b", 1]),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (Config(), {"a": 1}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({1: "a", date(2026, 5, 1): "b"}, {"1": "a", "2026-05-01": "b"}),
        ({Colour.RED: "c", Level.HIGH: "d"}, {"red": "c", "high": "d"}),
        (Colour.RED, "red"),
        (PurePosixPath("a/b"), "a/b"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (Box({"k": Box(None)}), {"content": {"k": {"content": None, "size": 1}}, "size": 1}),
        (Inner(day=date(2026, 5, 1)), {"day": date(2026, 5, 1), "colour": "red"}),
        (Rows([Inner(day=date(2026, 5, 1))]), [{"day": date(2026, 5, 1), "colour": "red"}]),
        ([MOMENT, MOMENT.date(), MOMENT.timetz(), timedelta(1), Decimal("1.5"), UUID(int=1)],) * 2,
    ],
)
def test_values_become_plain_data(value: object, plain: object) -> None:
    """JSON values, bytes, times, UUIDs and decimals; everything else is written with these."""
    assert plain == to_plain(value).value


def test_a_model_is_written_as_its_json_schema_says() -> None:
    """Aliases and computed fields are in, excluded fields are not, extras are kept."""
    value = Outer.model_validate({"inner": {"day": "2026-05-01"}, "more": [1]})
    schema = TypeAdapter(Outer).json_schema(mode="serialization")

    plain = to_plain(value).value

    assert {
        "inner": {"day": date(2026, 5, 1), "colour": "red"},
        "many": [],
        "alias": 2,
        "twice": 4,
        "more": [1],
    } == plain
    assert schema["properties"].keys() == plain.keys() - {"more"}


class Float64(float):
    """As numpy's: a subclass of a plain type."""


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self


class Timestamp(datetime):
    """As pandas'."""


@pytest.mark.parametrize(
    "value",
    [
        Float64(1.5),
        Text("text"),
        Level.HIGH,
        Timestamp(2026, 5, 1, 10, tzinfo=UTC, fold=1),
        type("Day", (date,), {})(2026, 5, 1),
        type("Hour", (time,), {})(10, 30, fold=1),
        type("Span", (timedelta,), {})(days=1, microseconds=5),
        type("Amount", (Decimal,), {})("1.50"),
        type("Id", (UUID,), {})(int=7),
        type("Whole", (int,), {})(3),
        type("Raw", (bytes,), {})(b"x"),
    ],
)
def test_subclasses_of_plain_types_become_the_plain_type(value: Any) -> None:
    """What reads them back knows only the plain ones."""
    plain = to_plain([value]).value[0]

    assert value == plain
    assert type(plain) in ATOMS


def test_the_plain_form_shares_nothing_with_the_value() -> None:
    """An action may go on changing what it returned."""
    value = {"rows": [[1]]}
    plain = to_plain(value).value
    value["rows"][0].append(2)

    assert {"rows": [[1]]} == plain


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "the value is a builtins.object, which cannot be stored"),
        ({"a": [1, {"b": object()}]}, r"the part a\[1\].b is a builtins.object"),
        ([lambda: 1], r"the part \[0\] is a builtins.function"),
        (Box(iter([])), "the part content is a builtins.list_iterator"),
        ({"a": {(1, 2): 3}}, "the part a has a key of type tuple"),
        ({"1": "a", 1: "b"}, "two keys that both become the text '1'"),
        (int, "the value is a builtins.type"),
        (Box, "the value is a builtins.type"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(value: object, words: str) -> None:
    """And with what to return instead."""
    with pytest.raises(UnstorableOutput, match=words):
        to_plain(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """As are values nested deeper than any plan could use, whatever they consist of."""
    loop: list[Any] = []
    loop.append({"again": loop})
    box = Box(None)
    box.content = box
    deep: Any = None
    for _ in range(10_000):
        deep = [deep]

    for value in (loop, box, deep):
        with pytest.raises(UnstorableOutput, match="contains itself"):
            to_plain(value)


@pytest.mark.parametrize("secret", [SecretStr("hunter2"), {"a": [SecretStr("hunter2")]}, SecretBytes(b"hunter2")])
def test_a_secret_is_never_stored_or_shown(secret: object) -> None:
    """Not in the plain form and not in the error."""
    with pytest.raises(UnstorableOutput, match="is a secret") as refused:
        to_plain(secret)

    assert "hunter2" not in str(refused.value)


def test_a_part_with_a_codec_is_taken_out() -> None:
    """By its nearest base class that has one; the rest is plain."""

    class Frame: ...

    class Table(Frame): ...

    codecs = Codecs()
    codecs.add(Codec(Frame, lambda frame: type(frame).__name__.encode(), lambda content: Frame()))
    plain = to_plain({"name": "x", "tables": [Table()]}, codecs)

    assert {"name": "x", "tables": [None]} == plain.value
    assert [(("tables", 0), b"Table")] == [(path, content) for path, _, content in plain.encoded]
    assert codecs.of(Table) is codecs.named(plain.encoded[0][1].name)
    assert [None, None] == [codecs.of(int), codecs.named("nothing")]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("x" * 1000, 1000, 1010),
        (b"x" * 1000, 1000, 1010),
        ([1] * 100, 800, 820),
        ({"k" * 100: "v" * 50}, 150, 170),
        ([[]] * 100, 800, 820),
    ],
)
def test_the_size_is_about_what_it_takes(value: object, least: int, most: int) -> None:
    """Texts and binary by length, everything else by eight; also empty containers weigh something."""
    assert least <= to_plain(value).size <= most


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_plain_data_stays_as_it_is(value: Any) -> None:
    """And becoming plain twice changes nothing."""
    plain = to_plain(value).value

    assert value == plain == to_plain(plain).value


class Login(BaseModel):
    user: str
    password: SecretStr


@dataclass
class Sample:
    values: list[float]
    raw: bytes = b""


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (date, "2026-05-01", date(2026, 5, 1)),
        (date, date(2026, 5, 1), date(2026, 5, 1)),
        (datetime, "2026-05-01T10:30:00", datetime(2026, 5, 1, 10, 30)),  # noqa: DTZ001 - people leave the zone out
        (timedelta, "PT1H", timedelta(hours=1)),
        (UUID, str(UUID(int=1)), UUID(int=1)),
        (Decimal, 1.5, Decimal("1.5")),
        (Colour, "red", Colour.RED),
        (set[int], [1, 2], {1, 2}),
        (Pair, [1, "a"], Pair(1, "a")),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (PurePosixPath, "a/b", PurePosixPath("a/b")),
        (str, b"text", "text"),
        (Inner, {"day": "2026-05-01"}, Inner(day=date(2026, 5, 1))),
        (Inner, {"day": date(2026, 5, 1), "colour": "red"}, Inner(day=date(2026, 5, 1))),
        (Sample, {"values": [float("inf")]}, Sample([float("inf")])),
        (Sample, {"values": [1.0], "raw": b"\xff"}, Sample([1.0], b"\xff")),
        (Login, {"user": "ada", "password": "x"}, Login(user="ada", password=SecretStr("x"))),
    ],
)
def test_plain_data_becomes_the_type_that_is_asked_for(kind: Any, value: object, expected: object) -> None:
    """As itself, or as its JSON form."""
    assert expected == conform(TypeAdapter(kind), value, "here")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, "3"),
        (int, 3.0),
        (int, True),
        (str, 3),
        (bool, 1),
        (float, "1.5"),
        (list[int], ["1"]),
        (Inner, {"day": 5}),
        (str, b"\xff"),
        (int, None),
    ],
)
def test_nothing_is_coerced_from_one_type_to_another(kind: Any, value: object) -> None:
    """A wrong type is an error that names the place and never shows the value."""
    with pytest.raises(BindingError, match=r"^step\.input: ") as refused:
        conform(TypeAdapter(kind), value, "step.input")

    assert "step.input" == refused.value.path


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SecretStr, SecretStr("hunter2")),
        (str, SecretStr("hunter2")),
        (dict[str, str], {"password": SecretStr("hunter2")}),
        (Login, {"user": "ada", "password": SecretStr("hunter2")}),
        (list[Login], [{"user": "ada", "password": SecretStr("hunter2")}]),
    ],
)
def test_a_secret_reaches_the_action_as_it_was_given(kind: Any, value: object) -> None:
    """Pydantic writes a secret inside JSON as stars; the action must not get these."""
    received = conform(TypeAdapter(kind), value, "here")

    assert "hunter2" in str(revealed(TypeAdapter(kind).dump_python(received)))


def revealed(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case dict():
            return {key: revealed(item) for key, item in value.items()}
        case list():
            return [revealed(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize(
    ("kind", "value"),
    [(int, SecretStr("hunter2")), (Login, {"user": 1, "password": SecretStr("hunter2")}), (int, "hunter2")],
)
def test_an_error_never_shows_a_value(kind: Any, value: object) -> None:
    """It may be a secret, and the error goes to logs and models."""
    with pytest.raises(BindingError) as refused:
        conform(TypeAdapter(kind), value, "here")

    assert "hunter2" not in str(refused.value)
