"""What an undo may ask for is known when it is registered, not only when a run fails."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from planner.catalog import ActionCatalog, ActionContext, ActionPolicy, Resource, action
from planner.errors import RegistrationError


@dataclass
class Booking:
    booking: str
    price: int = 0


async def book(city: str, nights: int = 1) -> str:
    return city


async def reserve(city: str) -> Booking:
    return Booking(city)


def by_booking(booking: str) -> None: ...
def by_output(booking: str, price: int) -> None: ...
def by_input(city: str) -> None: ...
def by_default_input(nights: int) -> None: ...
def by_word(inputs: dict[str, Any], outputs: dict[str, Any], result: Any, outcome: str) -> None: ...
def by_chance(other: str = "x") -> None: ...
def by_environment(ctx: ActionContext, db: Annotated[object, Resource("db")]) -> None: ...


@pytest.mark.parametrize(
    ("function", "undo"),
    [
        (book, by_input),
        (book, by_default_input),
        (book, by_word),
        (book, by_chance),
        (book, by_environment),
        (book, functools.partial(by_booking, booking="B1")),
        (book, action(by_word)),
        (reserve, by_output),
        (reserve, by_word),
    ],
)
def test_an_undo_asks_for_what_a_call_has(function: Callable[..., Any], undo: Callable[..., Any]) -> None:
    """Inputs, outputs, the words, what the planner or the application gives, and what need not be given."""
    spec = ActionCatalog([action(undo=undo)(function)]).get_action_by_name(function.__name__)

    assert spec is not None
    assert undo is spec.policy.undo


def test_an_undo_that_nobody_can_give_its_values_is_refused_with_what_it_may_ask_for() -> None:
    """The result is not called what the undo's author calls it."""
    with pytest.raises(RegistrationError) as refused:
        ActionCatalog([action(undo=by_booking)(book)])

    message = str(refused.value)
    assert message.startswith("'book': its undo 'by_booking' requires 'booking'")
    assert all(
        word in message
        for word in ("(city, nights)", "(result)", "inputs, outputs, result, outcome", "ActionContext", "default")
    )


def test_the_outputs_of_an_object_are_told_by_name() -> None:
    """Only what cannot be given is named as missing."""

    def wrong(booking: str, ticket: str, seat: str) -> None: ...

    with pytest.raises(RegistrationError, match=r"requires 'ticket', 'seat', .*an output \(booking, price\)"):
        ActionCatalog([action(undo=wrong)(reserve)])


def test_a_flow_and_a_described_action_are_held_to_the_same() -> None:
    """However it comes into the catalog; one that was refused is not in it."""

    class State(TypedDict):
        text: str

    graph = StateGraph(State)
    graph.add_node("say", lambda state: state)
    graph.add_edge(START, "say")
    graph.add_edge("say", END)
    catalog = ActionCatalog()
    with pytest.raises(RegistrationError, match="requires 'booking'"):
        catalog.add_flow(graph, name="flow", undo=by_booking)
    spec = replace(ActionCatalog([action(book)]).get_action("action:book"), policy=ActionPolicy(undo=by_booking))
    with pytest.raises(RegistrationError, match="requires 'booking'"):
        catalog.add(spec)

    assert len(catalog) == 0
