"""The strict serializer, the codec that names keys, and encryption."""

import dataclasses
import enum
import json
import pickle
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_network
from pathlib import Path, PosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field

from storage.errors import CorruptRecord, ForbiddenType
from storage.records import Value
from storage.serde import ValueCodec, encrypted, strict_serializer

KEY = b"0123456789abcdef0123456789abcdef"
LAX = JsonPlusSerializer()


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: "int | Point"


class Pair(NamedTuple):
    left: int
    right: str


class Inner(BaseModel):
    at: datetime
    tags: set[str]


class Model(BaseModel):
    """What LangGraph cannot rebuild whole: an alias, a nested model, a computed field, nothing extra allowed."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field("nobody", alias="fullName")
    inner: Inner

    @computed_field
    def loud(self) -> str:
        return self.name.upper()


class Names(RootModel[list[str]]):
    pass


class Stamp(datetime):
    pass


class Outer:
    class Nested(enum.Enum):
        A = 1


MINE = [Colour, Point, Pair, Inner, Model, Names, Stamp]
MODEL = Model(fullName="ada", inner=Inner(at=datetime(2026, 1, 2, tzinfo=UTC), tags={"a"}))


def codec(*allowed: Any, key: bytes | None = None) -> ValueCodec:
    serde = strict_serializer(allowed)
    return ValueCodec(serde if key is None else encrypted(serde, key))


@pytest.fixture(params=["plain", "encrypted"])
def mine(request: pytest.FixtureRequest) -> ValueCodec:
    """A codec that may load the classes of this module."""
    return codec(*MINE, key=KEY if request.param == "encrypted" else None)


# ------------------------------------------------------------------------------------------------------- round trips

SAME = [
    None, True, 0, -(2**63), 2**64 - 1, 1.5, float("inf"), "", "nul \0 é 🙂", b"", b"\x00\xff", bytearray(b"x"),
    [1, [2, None]], {"a": {"b": [1]}}, {1: "i", 2.5: "f", None: "n", b"x": "b", (1, 2): "t"}, {True: "b"},
    set(), {1, "a"}, {(1, 2), (3, (4, frozenset({5})))}, frozenset({b"x"}), deque([1, 2]),
    datetime.fromisoformat("2026-01-02T03:04:05.000006"), datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3))),
    date(2026, 1, 2), time(1, 2, 3, tzinfo=UTC), timedelta(days=-1, microseconds=7), ZoneInfo("Europe/Zurich"), UTC,
    UUID(int=7), Decimal("1.10"), Path("/a/b c"), ip_address("::1"), ip_network("10.0.0.0/8"),
    HumanMessage("hi", id="1"), SystemMessage("be good"), RemoveMessage("1"), ToolMessage("4", tool_call_id="c"),
    AIMessage("", tool_calls=[{"name": "add", "args": {"a": 2}, "id": "c"}]), Document("text", metadata={"a": 1}),
    Send("node", {"a": 1}), Interrupt("question", id="i"), Command(goto="node", update={"a": 1}),
    _DeltaSnapshot([HumanMessage("hi", id="1")]),
    Colour.RED, Point(1, Point(2, 3)), Pair(1, "b"), MODEL, [MODEL, {"deep": MODEL}], Names(["a"]),
]  # fmt: skip


@pytest.mark.parametrize("value", SAME, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(mine: ValueCodec, value: object) -> None:
    back = mine.load(mine.dump(value), "key")

    assert value == back
    assert type(value) is type(back)


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ((1, (2,)), [1, [2]]),
        (deque([(1, 2)]), deque([[1, 2]])),
        ([bytearray(b"x"), memoryview(b"y")], [b"x", b"y"]),
        ({UUID(int=1): 1, date(2026, 1, 2): 2, Colour.RED: 3}, {str(UUID(int=1)): 1, "2026-01-02": 2, "red": 3}),
        (OrderedDict(a=1), {"a": 1}),
        (Counter("a"), {"a": 1}),
        (ValueError("no"), "ValueError('no')"),
        ("half \ud83d", "half ?"),
        (datetime(2026, 7, 1, tzinfo=ZoneInfo("UTC")), datetime(2026, 7, 1, tzinfo=UTC)),
    ],
)
def test_what_changes_on_the_way_is_what_langgraph_changes(mine: ValueCodec, value: object, back: object) -> None:
    loaded = mine.load(mine.dump(value), "key")

    assert back == loaded
    assert type(back) is type(loaded)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_and_can_be_written_to(mine: ValueCodec, order: Any) -> None:
    array = np.arange(6, dtype="<f4").reshape((2, 3), order=order)
    back = mine.load(mine.dump({"array": array}), "key")["array"]

    np.testing.assert_array_equal(array, back)
    assert (array.dtype, array.flags.f_contiguous) == (back.dtype, back.flags.f_contiguous)
    back[0, 0] = 9


@pytest.mark.parametrize("value", [2**64, 1j, np.float64(1), object(), print, {frozenset(): 1}])
def test_what_has_no_encoding_is_refused_when_it_is_written(mine: ValueCodec, value: object) -> None:
    """Never pickled."""
    with pytest.raises(TypeError):
        mine.dump(value)


def test_what_was_dumped_does_not_change_with_the_value(mine: ValueCodec) -> None:
    value = bytearray(b"first")
    dumped = mine.dump(value)
    value[:] = b"later"

    assert bytearray(b"first") == mine.load(dumped, "key")
    assert type(dumped.body) is bytes


def test_paths_of_python_3_13_load_in_every_version() -> None:
    body = ormsgpack.packb(ormsgpack.Ext(1, ormsgpack.packb(("pathlib._local", "PosixPath", ["/", "a"]))))

    assert PosixPath("/a") == codec().load(Value("msgpack", body), "key")


# -------------------------------------------------------------------------------------------------------- forbidden


@pytest.mark.parametrize("value", [Colour.RED, Point(1, 2), Pair(1, "b"), MODEL, Names(["a"]), Stamp(2026, 1, 2)])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [{"deep": v}], _DeltaSnapshot, lambda v: Send("n", v)])
def test_a_type_that_is_not_allowed_is_named_with_key_and_setting(value: object, wrap: Callable[[Any], Any]) -> None:
    for plain in (codec(), codec(key=KEY)):
        with pytest.raises(ForbiddenType) as caught:
            plain.load(plain.dump(wrap(value)), "thread-1/state")

        assert ("thread-1/state", f"{__name__}:{type(value).__name__}") == (caught.value.key, caught.value.type_name)
        assert "GOALGRAPH_STORAGE__ALLOWED_TYPES" in str(caught.value)


@pytest.mark.parametrize("allowed", [Colour, (__name__, "Colour"), f"{__name__}:Colour"])
def test_a_type_is_allowed_as_class_pair_or_text(allowed: Any) -> None:
    assert Colour.RED is codec(allowed).load(codec().dump(Colour.RED), "key")


@pytest.mark.parametrize("text", ["", "Colour", "package.module", "package:", ":Name", "package:a.b", "package:a b"])
def test_a_text_that_names_no_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 'package\.module:Name'"):
        strict_serializer([text])


def test_a_type_that_could_never_be_found_is_refused_at_once() -> None:
    class Local(enum.Enum):
        A = 1

    for kind in (Local, Outer.Nested):
        with pytest.raises(ValueError, match="top level"):
            strict_serializer([kind])


def test_nothing_is_imported_for_a_type_that_is_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for code in range(6):
        inner = ormsgpack.packb(("evil_module", "run", ["x"], "go"))
        value = Value("msgpack", ormsgpack.packb(ormsgpack.Ext(code, inner)))
        with pytest.raises(ForbiddenType, match="evil_module:run"):
            codec().load(value, "key")
    lc2 = {"lc": 2, "type": "constructor", "id": ["evil_module", "run"], "args": ["x"]}
    with pytest.raises(ForbiddenType, match="evil_module:run"):
        codec().load(Value("json", json.dumps([lc2]).encode()), "key")
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("name", ["now", "utcfromtimestamp", "__init__", "strptime"])
def test_only_the_method_that_langgraph_writes_is_called(name: str) -> None:
    body = ormsgpack.packb(ormsgpack.Ext(3, ormsgpack.packb(("datetime", "datetime", "2026-01-02", name))))

    with pytest.raises(ForbiddenType, match=name):
        codec().load(Value("msgpack", body), "key")


def test_pickles_are_never_loaded() -> None:
    for kind in ("pickle", "pickle+aes"):
        with pytest.raises(CorruptRecord, match="key"):
            codec(*MINE, key=KEY).load(Value(kind, pickle.dumps([1])), "key")
    with pytest.raises(CorruptRecord, match="never loaded"):
        codec().load(Value("pickle", pickle.dumps([1])), "key")


def test_constructors_in_json_are_rebuilt_when_they_are_safe_or_allowed_and_refused_otherwise() -> None:
    def load(kind: Any, *allowed: Any) -> Any:
        return codec(*allowed).load(Value("json", json.dumps({"found": [kind]}).encode()), "key")["found"][0]

    old = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"]}
    assert HumanMessage("hi") == load({**old, "kwargs": {"content": "hi"}})
    assert UUID(int=1) == load({"lc": 2, "type": "constructor", "id": ["uuid", "UUID"], "args": [UUID(int=1).hex]})
    mine = {"lc": 2, "type": "constructor", "id": [*__name__.split("."), "Point"], "kwargs": {"x": 1, "y": 2}}
    assert Point(1, 2) == load(mine, Point)
    for plain in ({"lc": [1], "id": 1, "type": "constructor"}, {"lc": 1, "id": ["x"], "type": "file"}):
        assert plain == load(plain)
    template = {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "prompts", "prompt", "PromptTemplate"],
        "kwargs": {},
    }
    secret = {"lc": 1, "type": "secret", "id": ["HOME"]}
    for refused in (mine, template, secret):
        with pytest.raises(ForbiddenType, match="key"):
            load(refused)


# ---------------------------------------------------------------------------------------------------------- corrupt


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ((__name__, "Colour", "blue"), "Colour cannot be rebuilt"),
        ((__name__, "Gone", 1), "Gone"),
        (("builtins", "set", [{"a": 1}]), "builtins:set cannot be rebuilt"),
        ((__name__,), "not enough values"),
        (7, "TypeError"),
        (([], {}, 1), "unhashable"),
    ],
)
def test_an_allowed_type_that_cannot_be_rebuilt_is_corrupt(payload: object, says: str) -> None:
    """LangGraph returns the payload: a value of another type."""
    body = ormsgpack.packb([ormsgpack.Ext(0, ormsgpack.packb(payload))])

    with pytest.raises(CorruptRecord, match=says) as caught:
        codec(Colour, (__name__, "Gone")).load(Value("msgpack", body), "thread-1")
    assert "thread-1" == caught.value.key
    assert not isinstance(caught.value, ForbiddenType)


def test_a_model_that_changed_is_corrupt_and_its_values_are_not_told() -> None:
    """Missing fields are not made up, and an error may be logged."""
    body = LAX.dumps_typed(MODEL)[1].replace(b"tags", b"tugs")

    with pytest.raises(
        CorruptRecord, match=r"Model cannot be rebuilt \(ValidationError: 1 validation error for Model\)"
    ):
        codec(*MINE).load(Value("msgpack", body), "key")


@pytest.mark.parametrize(("kind", "says"), [("yaml", "'yaml'"), ("msgpack+aes", "no key is given"), ("", "''")])
def test_bytes_of_an_unknown_kind_are_corrupt(kind: str, says: str) -> None:
    with pytest.raises(CorruptRecord, match=says):
        codec().load(Value(kind, b"x"), "key")


def test_extensions_that_are_not_known_or_nest_for_ever_are_corrupt() -> None:
    body = ormsgpack.packb(ormsgpack.Ext(99, ormsgpack.packb(("builtins", "set", []))))
    with pytest.raises(CorruptRecord, match="extension 99"):
        codec().load(Value("msgpack", body), "key")
    deep = ormsgpack.packb(None)
    for _ in range(2000):
        deep = ormsgpack.packb(ormsgpack.Ext(7, deep))
    with pytest.raises(CorruptRecord, match="RecursionError"):
        codec().load(Value("msgpack", deep), "key")


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.frozensets(st.integers(0, 9) | st.tuples(st.integers(0, 9), st.text("ab"))),
    lambda part: st.lists(part) | st.dictionaries(st.text("ab\0é") | st.integers(-(2**63), 2**63 - 1), part),
    max_leaves=12,
)


@given(PLAIN, st.sampled_from([None, KEY]))
@settings(max_examples=60)
def test_any_plain_value_comes_back(value: Any, key: bytes | None) -> None:
    chosen = codec(key=key)

    assert value == chosen.load(chosen.dump(value), "key")


@given(PLAIN, st.data())
@settings(max_examples=60)
def test_damaged_bytes_are_corrupt_or_another_value_and_encrypted_ones_always_corrupt(
    value: Any, data: st.DataObject
) -> None:
    value = [value, {UUID(int=1), MODEL.name}, HumanMessage("hi")]
    for chosen in (codec(), codec(key=KEY)):
        kind, body = chosen.dump(value)
        at = data.draw(st.integers(0, len(body) - 1))
        flipped = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
        for damaged in (flipped, body[:at]):
            try:
                chosen.load(Value(kind, damaged), "thread-1")
            except CorruptRecord as error:
                assert "thread-1" == error.key  # noqa: PT017 - it need not be raised
            else:
                assert not chosen.encrypted


# -------------------------------------------------------------------------------------------------------- encryption


@pytest.mark.parametrize("length", [16, 24, 32])
def test_encrypted_bytes_do_not_show_the_value_and_differ_each_time(length: int) -> None:
    secret = codec(key=b"k" * length)
    first, second = secret.dump("hunter2"), secret.dump("hunter2")

    assert "msgpack+aes" == first.type
    assert b"hunter2" not in first.body
    assert first.body != second.body
    assert "hunter2" == secret.load(first, "key") == secret.load(second, "key")


@pytest.mark.parametrize("length", [0, 15, 17, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"16, 24 or 32 bytes, and this one has {length}"):
        encrypted(strict_serializer(), b"k" * length)


def test_a_wrong_key_is_corrupt_and_says_so() -> None:
    with pytest.raises(CorruptRecord, match=r"'thread-1'.*wrong key or changed bytes"):
        codec(key=KEY[::-1]).load(codec(key=KEY).dump("x"), "thread-1")


def test_what_was_written_before_encryption_still_loads() -> None:
    assert {"a": [b"x"]} == codec(key=KEY).load(codec().dump({"a": [b"x"]}), "key")
    assert [False, True] == [codec().encrypted, codec(key=KEY).encrypted]


def test_an_encrypted_value_is_read_strictly() -> None:
    lax = EncryptedSerializer.from_pycryptodome_aes(LAX, key=KEY)

    with pytest.raises(ForbiddenType, match=r"'key'.*Point"):
        codec(key=KEY).load(Value(*lax.dumps_typed(Point(1, 2))), "key")


# --------------------------------------------------------------------------------------------------------- langgraph


@pytest.mark.parametrize("key", [None, KEY])
def test_the_allow_list_of_a_graph_keeps_it_strict(key: bytes | None) -> None:
    """LangGraph calls it in its strict mode, with the types of the graph's state."""
    serde = strict_serializer() if key is None else encrypted(strict_serializer(), key)
    saver = InMemorySaver(serde=serde)
    clone = saver.with_allowlist([(__name__, "Colour")])

    assert clone is not saver
    assert clone.with_allowlist([(__name__, "Colour")]).serde is clone.serde
    values = ValueCodec(clone.serde)
    assert Colour.RED is values.load(values.dump(Colour.RED), "key")
    with pytest.raises(ForbiddenType, match="Point"):
        values.load(values.dump(Point(1, 2)), "key")
    with pytest.raises(ForbiddenType, match="Colour"):
        ValueCodec(saver.serde).load(values.dump(Colour.RED), "key")
    assert values.encrypted is (key is not None)


class Own(SerializerProtocol):
    """A user's serializer."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "repr+rot", repr(obj).encode()

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return ("own", *data)


def test_a_serializer_of_the_user_is_used_as_it_is() -> None:
    values = ValueCodec(Own())

    assert Value("repr+rot", b"1") == values.dump(1)
    assert ("own", "anything", b"x") == values.load(Value("anything", b"x"), "key")
    assert values.encrypted
