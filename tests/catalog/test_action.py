"""`@action`: every option, and what a signature becomes."""

import asyncio
import contextvars
import functools
import gc
import threading
import typing
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Annotated, Any, NotRequired, TypedDict

import pytest
from langgraph.types import RetryPolicy
from pydantic import BaseModel, Field, computed_field

from planner.catalog import (
    MISSING,
    ActionCatalog,
    ActionContext,
    ActionPolicy,
    ActionSpec,
    Cost,
    Rate,
    Resource,
    Semantic,
    action,
)
from planner.catalog.decorator import in_thread
from planner.context import RequestIdentity
from planner.errors import MissingResource, RegistrationError


def add(item: object) -> ActionSpec:
    return ActionCatalog().add(item)


def input_schemas(item: object) -> dict[str, dict[str, Any]]:
    """The schema of each input, without its title."""
    return {
        slot.name: {key: value for key, value in slot.schema.items() if key != "title"} for slot in add(item).inputs
    }


def annotated(**annotations: Any) -> Callable[..., Any]:
    """A function of one `value` with these annotations."""

    def act(value): ...

    act.__annotations__ = annotations
    return act


CONTEXT = ActionContext(
    run_id="r", step_id="s", attempt=1, idempotency_key="r:0:s", identity=RequestIdentity(), on_report=lambda *_: None
)


async def call(item: object, inputs: dict[str, Any], resources: dict[str, Any] | None = None) -> Any:
    spec = add(item)
    assert spec.call is not None
    return await spec.call(inputs, CONTEXT, resources or {})


def test_a_bare_decorator_takes_everything_from_the_function() -> None:
    """Name, first paragraph of the docstring, and the defaults of every option."""

    @action
    def load_table(path: str) -> str:
        """Load a table.

        More words.
        """
        return path

    spec = add(load_table)

    assert "content" == load_table("content")
    assert ("load_table", "action:load_table@0.1.0", "action", "0.1.0") == (
        spec.name,
        spec.ref,
        spec.kind,
        spec.version,
    )
    assert ("Load a table.", (), None) == (spec.description, spec.tags, spec.flow_id)
    assert ActionPolicy() == spec.policy


def test_every_option_reaches_the_spec() -> None:
    """None of them is dropped on the way."""

    def cancel() -> None: ...

    @action(
        name="book.flight",
        version="2.0",
        description="Books.",
        tags=["travel", "money"],
        flow_id="trips",
        retry=RetryPolicy(max_attempts=4),
        timeout=timedelta(seconds=9),
        undo=cancel,
        effect="external",
        idempotent="keyed",
        approval=True,
        roles=["agent", "admin"],
        cost=Cost(amount=2, seconds=3, tokens=5),
        max_concurrency=2,
        rate=Rate(calls=5, per=60),
    )
    def book(day: date) -> str:
        """Not this one."""
        return str(day)

    spec = add(book)

    assert ("book.flight", "action:book.flight@2.0", "Books.") == (spec.name, spec.ref, spec.description)
    assert (("travel", "money"), "trips") == (spec.tags, spec.flow_id)
    assert spec.policy == ActionPolicy(
        retry=RetryPolicy(max_attempts=4),
        timeout=timedelta(seconds=9),
        undo=cancel,
        effect="external",
        idempotent="keyed",
        approval=True,
        roles=frozenset({"agent", "admin"}),
        cost=Cost(amount=2, seconds=3, tokens=5),
        max_concurrency=2,
        rate=Rate(calls=5, per=60),
    )


def test_short_forms_of_options_are_read_as_what_they_mean() -> None:
    """A number of attempts, seconds, an amount, calls a second, and one role or tag as a text."""

    @action(retry=3, timeout=1.5, cost=0.2, rate=2, roles="admin", tags="money", undo="unpay")
    def pay() -> None: ...

    spec = add(pay)

    assert (3, timedelta(seconds=1.5)) == (spec.policy.retry.max_attempts, spec.policy.timeout)
    assert (Cost(amount=0.2), Rate(calls=2), "unpay") == (spec.policy.cost, spec.policy.rate, spec.policy.undo)
    assert (frozenset({"admin"}), ("money",)) == (spec.policy.roles, spec.tags)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"retry": 0}, "retry"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": timedelta(seconds=-1)}, "timeout"),
        ({"effect": "writes"}, "effect"),
        ({"idempotent": True}, "idempotent"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"rate": 0}, "rate"),
        ({"rate": Rate(calls=1, per=0)}, "rate"),
    ],
)
def test_an_option_out_of_its_range_is_refused_where_it_is_written(option: dict[str, Any], named: str) -> None:
    """By name, before the function is registered."""
    with pytest.raises(ValueError, match=named):
        action(**option)(lambda: None)


class Point(BaseModel):
    x: int
    y: int = Field(0, alias="why")


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (typing.Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045 - as older code writes it
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (typing.Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (date, {"type": "string", "format": "date"}),
        (Annotated[int, Field(ge=3)], {"type": "integer", "minimum": 3}),
        (Any, {}),
        (object, {}),
    ],
)
def test_an_annotation_becomes_its_whole_schema(annotation: Any, schema: dict[str, Any]) -> None:
    """A20: also `int | None`, which aethergraph read as an object."""
    assert {"value": schema} == input_schemas(annotated(value=annotation))


def test_a_parameter_without_an_annotation_may_be_anything() -> None:
    """A20: it is an input all the same."""

    def act(value, other=1): ...

    assert {"value": {}, "other": {}} == input_schemas(act)


def test_defaults_descriptions_and_meanings_are_read() -> None:
    """No default, the default `None` and one that is no plain data are three things."""

    def act(
        code: Annotated[str, Semantic("airport_code"), Field(description="IATA")],
        day: date | None = None,
        sink: Annotated[Any, "anything"] = print,
    ) -> None: ...

    code, day, sink = add(act).inputs

    assert ("airport_code", "IATA", True, MISSING) == (code.semantic, code.description, code.required, code.default)
    assert (None, False, None) == (day.semantic, day.required, day.default)
    assert (False, MISSING) == (sink.required, sink.default)


@dataclass
class Summary:
    total: Annotated[float, Semantic("money")]
    groups: list[Point] = field(default_factory=list)


class Row(TypedDict):
    name: str
    note: NotRequired[Annotated[str, Semantic("remark")]]


class Area(BaseModel):
    side: Annotated[int, Semantic("length")]

    @computed_field
    @property
    def area(self) -> int:
        return self.side**2


def test_a_record_gives_an_output_for_each_field() -> None:
    """Dataclass, TypedDict and pydantic model; each with its meaning, and whether it is always there."""

    def summed() -> Summary: ...
    def row() -> Row: ...
    def area() -> Area: ...
    def point() -> Point: ...

    outputs = {
        spec.name: [(slot.name, slot.required, slot.semantic) for slot in spec.outputs]
        for spec in map(add, (summed, row, area, point))
    }

    assert {
        "summed": [("total", True, "money"), ("groups", False, None)],
        "row": [("name", True, None), ("note", False, "remark")],
        "area": [("side", True, "length"), ("area", True, None)],
        "point": [("x", True, None), ("why", False, None)],
    } == outputs
    assert not add(summed).single_output


@pytest.mark.parametrize("annotation", [int, list[Point], Point | None, dict[str, int], None, Any])
def test_anything_else_gives_one_output_called_result(annotation: Any) -> None:
    """Also a record that may be absent."""
    spec = add(annotated(**{"return": annotation}))

    assert (["result"], True) == ([slot.name for slot in spec.outputs], spec.single_output)


async def test_methods_callable_objects_and_async_functions_are_called_with_their_arguments() -> None:
    """What can be called by name can be an action."""

    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @action(name="scaled")
        def times(self, value: int) -> int:
            return self.factor * value

        async def __call__(self, value: int) -> int:
            return self.factor + value

    async def later(value: int) -> int:
        return -value

    scale = Scale(3)

    assert [6, 5, -2] == [await call(item, {"value": 2}) for item in (scale.times, scale, later)]
    assert ["scaled", "Scale", "later"] == [add(item).name for item in (scale.times, scale, later)]
    assert {"value": {"type": "integer"}} == input_schemas(scale.times) == input_schemas(scale)


async def test_a_partial_keeps_types_and_rules_and_hides_what_it_binds() -> None:
    """Otherwise a plan could overrule what the application fixed, or call without approval."""

    @action(approval=True)
    async def book(day: str, account: str, seats: int = 1) -> str:
        """Book seats."""
        return f"{day} {account} {seats}"

    bound = functools.partial(functools.partial(book, account="ours"), seats=2)
    spec = add(bound)

    assert ("book", "Book seats.", True) == (spec.name, spec.description, spec.policy.approval)
    assert {"day": {"type": "string"}} == input_schemas(bound)
    assert "Friday ours 2" == await call(bound, {"day": "Friday"})


async def test_context_and_resources_are_given_by_the_application_and_are_no_inputs() -> None:
    """Also a context that may be absent, so that the function can be called without one."""

    class Pool: ...

    def act(
        value: int, ctx: ActionContext | None = None, *, db: Annotated[Pool, Resource("db")]
    ) -> tuple[int, bool, bool]:
        return value, ctx is CONTEXT, isinstance(db, Pool)

    assert ["value"] == list(input_schemas(act))
    assert (1, True, True) == await call(act, {"value": 1}, {"db": Pool()})
    with pytest.raises(MissingResource, match="'db'"):
        await call(act, {"value": 1})


async def test_a_function_that_is_not_async_runs_in_a_thread_with_the_callers_context_variables() -> None:
    """The loop stays free, and tracing and identities still reach the function."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    loop_is_free = threading.Event()
    asyncio.get_running_loop().call_soon(loop_is_free.set)
    user.set("ada")

    def act() -> tuple[str, bool, bool]:
        return user.get(), loop_is_free.wait(10), threading.current_thread() is threading.main_thread()

    assert ("ada", True, False) == await call(act, {})


async def test_what_a_thread_raises_is_raised_where_it_is_awaited() -> None:
    """`StopIteration` cannot pass through a future, so it becomes an error that can."""

    def act(kind: Any) -> None:
        raise kind("broken")

    for kind, raised in ((KeyError, KeyError), (StopIteration, RuntimeError), (SystemExit, SystemExit)):
        with pytest.raises(raised, match="broken"):
            await call(act, {"kind": kind})


async def test_a_thread_that_outlives_its_waiter_disturbs_nobody() -> None:
    """A thread cannot be stopped; its late result is dropped."""
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(10)
        done.set()

    waiter = asyncio.ensure_future(in_thread(work))
    await asyncio.wait({waiter}, timeout=0)
    waiter.cancel()
    await asyncio.wait({waiter})
    go.set()

    assert waiter.cancelled()
    assert await asyncio.to_thread(done.wait, 10)


class Opaque: ...


def unannotated_rest(*rest: int) -> None: ...
def unannotated_options(**options: int) -> None: ...
def positional(value: int, /) -> None: ...
def opaque_input(value: Opaque) -> None: ...
def opaque_items(value: list[Opaque]) -> None: ...
def opaque_output() -> Opaque: ...
def with_field(value: int = Field(5, gt=0)) -> None: ...
def many() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (unannotated_rest, ["unannotated_rest", "*rest", "by name"]),
        (unannotated_options, ["unannotated_options", "**options", "by name"]),
        (positional, ["positional", "value", "by name"]),
        (opaque_input, ["opaque_input: parameter 'value'", "Opaque", "add_codec(Opaque", "Resource", "dataclass"]),
        (opaque_items, ["opaque_items: parameter 'value'", "list[", "Opaque", "add_codec("]),
        (opaque_output, ["opaque_output: the return value", "Opaque", "add_codec(Opaque"]),
        (annotated(value="Nowhere"), ["act", "'Nowhere'", "import it"]),
        (annotated(value="list["), ["act", "annotation"]),
        (with_field, ["with_field: parameter 'value'", "Annotated["]),
        (many, ["many", "generator", "list"]),
        (Opaque, ["Opaque", "class", "give a function"]),
        (dict.fromkeys, ["fromkeys"]),
        (lambda: 1, ["<lambda>", "name"]),
    ],
)
def test_what_cannot_be_an_action_is_refused_with_what_to_write(function: Any, words: list[str]) -> None:
    """The message names the function, the parameter and the way out."""
    with pytest.raises(RegistrationError) as refused:
        add(function)

    assert [] == [word for word in words if word not in str(refused.value)]


def test_a_type_with_a_codec_is_taken_wherever_it_stands() -> None:
    """Alone, in a list, or absent."""
    catalog = ActionCatalog()
    catalog.add_codec(Opaque, lambda _: b"", lambda _: Opaque())

    def act(one: Opaque, some: list[Opaque], perhaps: Opaque | None = None) -> dict[str, Opaque]: ...

    spec = catalog.add(act)
    kind = {"x-python-type": f"{__name__}.Opaque"}

    assert [kind, kind] == [spec.inputs[0].schema, spec.inputs[1].schema["items"]]
    assert [kind, {"type": "null"}] == spec.inputs[2].schema["anyOf"]
    assert kind == spec.outputs[0].schema["additionalProperties"]


def test_a_decorated_function_keeps_nothing_of_the_place_where_it_was_defined_alive() -> None:
    """Only the names that its annotations mention are kept, not a client that stood beside it."""

    class Client: ...

    def make() -> tuple[Callable[..., Any], weakref.ref[Client]]:
        client = Client()

        @action
        def act(value: "int") -> "int":
            return value

        return act, weakref.ref(client)

    act, client = make()
    gc.collect()

    assert client() is None
    assert {"value": {"type": "integer"}} == input_schemas(act)


@pytest.mark.parametrize(("roles", "allowed"), [((), True), (("guest",), False), (("guest", "admin"), True)])
def test_roles_decide_who_may_call(roles: tuple[str, ...], *, allowed: bool) -> None:
    """Any of the roles is enough; an action without roles is everybody's."""

    @action(roles=["admin", "owner"] if roles else ())
    def act() -> None: ...

    assert allowed == add(act).allows(RequestIdentity(roles=roles))
