"""Which outputs can fill an input: by meaning, name, shape, and by what their action is called."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from planner.catalog import ActionCatalog, Producer, Semantic, Slot, action
from planner.catalog.producers import links


class Flight(BaseModel):
    flight_id: str
    price: float


class Place(BaseModel):
    code: Annotated[str, Semantic("airport")]
    country: str


@action
async def find_flights(origin: Annotated[str, Semantic("airport")], day: str) -> list[Flight]:
    """Give records in a list."""
    raise NotImplementedError


@action
async def cheapest(flights: list[Flight]) -> Flight:
    """Give one record."""
    raise NotImplementedError


@action
async def place_of(city: str) -> Place:
    """Give a record with a meaning in it."""
    raise NotImplementedError


@action
async def get_total(flights: list[Flight]) -> float:
    """Give a number that only the action's name names."""
    raise NotImplementedError


@action
async def say(text: str) -> str:
    """Give a text that nothing names."""
    raise NotImplementedError


@action
async def choose(level: Literal["low", "high"]) -> Literal["low", "high"]:
    """Give one of a few words."""
    raise NotImplementedError


@action
async def anything(key: str) -> dict[str, Any]:
    """Give what cannot be known."""
    raise NotImplementedError


@pytest.fixture(scope="module")
def catalog() -> ActionCatalog:
    return ActionCatalog([find_flights, cheapest, place_of, get_total, say, choose, anything])


def found(catalog: ActionCatalog, slot: Slot) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.action.name, one.path) for one in catalog.producers(slot)]


def slot_of(catalog: ActionCatalog, action_name: str, name: str) -> Slot:
    spec = catalog.get_action_by_name(action_name)
    assert spec is not None
    slot = spec.input(name)
    assert slot is not None
    return slot


def test_a_meaning_links_where_names_differ(catalog: ActionCatalog) -> None:
    """`origin` takes an airport, `code` is one."""
    assert found(catalog, slot_of(catalog, "find_flights", "origin")) == [("place_of", ("code",))]


def test_the_same_name_with_another_meaning_does_not_link(catalog: ActionCatalog) -> None:
    """A country's code is no airport's."""
    assert found(catalog, Slot("code", {"type": "string"}, semantic="dialling code")) == []


def test_a_list_of_records_links_by_its_shape(catalog: ActionCatalog) -> None:
    """`result` names nothing."""
    assert found(catalog, slot_of(catalog, "cheapest", "flights")) == [("find_flights", ("result",))]


def test_the_whole_of_a_record_is_a_producer(catalog: ActionCatalog) -> None:
    """An action with an output a field gives the record too, as `${step}`."""
    record = Slot("what", Flight.model_json_schema())

    assert [(one.action.name, one.whole, one.path) for one in catalog.producers(record)] == [("cheapest", True, ())]


def test_a_field_of_a_record_links_by_its_name(catalog: ActionCatalog) -> None:
    """However it is written."""
    assert found(catalog, Slot("flightId", {"type": "string"})) == [("cheapest", ("flight_id",))]


@pytest.mark.parametrize("name", ["total", "get_total"])
def test_an_action_is_named_for_what_it_gives(catalog: ActionCatalog, name: str) -> None:
    """With its verb or without."""
    assert found(catalog, Slot(name, {"type": "number"})) == [("get_total", ("result",))]


@pytest.mark.parametrize(
    "slot",
    [
        Slot("letter", {"type": "string"}),
        Slot("result", {"type": "string"}),
        Slot("total", {"type": "string"}),
        Slot("price", {"type": "string"}),
        Slot("file", {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}),
    ],
    ids=["a bare text", "the word result", "named but of the wrong type", "a field of the wrong type", "another shape"],
)
def test_nothing_is_offered_by_type_alone(catalog: ActionCatalog, slot: Slot) -> None:
    """Every text would fit every other."""
    assert found(catalog, slot) == []


def test_an_enumeration_links_to_the_same_one(catalog: ActionCatalog) -> None:
    """It is a type of its own."""
    assert found(catalog, Slot("grade", {"enum": ["low", "high"]})) == [("choose", ("result",))]


def test_groups_are_kept_apart() -> None:
    """Only global producers and those of the group."""
    grouped = action(name="grouped_total", flow_id="sums")(get_total)
    catalog = ActionCatalog([grouped])
    slot = Slot("grouped_total", {"type": "number"})

    assert len(catalog.producers(slot)) == 1
    assert catalog.producers(slot, flow_ids=["other"]) == []


def test_links_and_producers_follow_the_same_rule(catalog: ActionCatalog) -> None:
    """What a user has is linked as what an action gives is."""
    slots = [slot for spec in catalog for slot in spec.inputs]
    outputs = [Producer(spec, slot) for spec in catalog if not spec.single_output for slot in spec.outputs]
    linked = {
        (one.action.ref, one.output.name, slot.name) for one in outputs for slot in slots if links(one.output, slot)
    }
    offered = {
        (one.action.ref, one.output.name, slot.name)
        for slot in slots
        for one in catalog.producers(slot)
        if not one.whole and not one.action.single_output
    }

    assert linked == offered
    assert linked


def test_what_feeds_an_action_is_known_as_a_network(catalog: ActionCatalog) -> None:
    """Values that the same outputs can fill are one."""
    network = catalog.view.producers.network
    giving = {
        network.specs[giver].name: [network.values[value].slot.name for value in network.gives[giver]]
        for giver in range(len(network.specs))
        if network.gives[giver]
    }

    assert giving == {"find_flights": ["flights"], "place_of": ["origin"], "choose": ["level"]}
    assert [network.specs[user].name for user in network.users[network.inputs[0][0]]] == [network.specs[0].name]
