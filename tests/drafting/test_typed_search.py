"""From what one has to what one wants: what is found runs, and what can be reached is found."""

from datetime import date
from itertools import permutations
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from planner.catalog import ActionCatalog, ActionPolicy, ActionSpec, Cost, Semantic, Slot, action, make_ref
from planner.context import RequestIdentity
from planner.drafting.reach import Source, Want, reach
from planner.drafting.request import PlanningContext, PlanResult
from planner.drafting.typed_search import TypedSearch
from planner.plan import CandidatePlan, Reference, validate


class Flight(BaseModel):
    flight_id: str
    price: float


class Ticket(BaseModel):
    booking_id: str
    total: float


@action
async def find_airport(city: Annotated[str, Semantic("city")]) -> Annotated[str, Semantic("airport")]:
    """Tell the airport of a city."""
    raise NotImplementedError


@action
async def find_flights(
    origin: Annotated[str, Semantic("airport")], destination: Annotated[str, Semantic("airport")], day: date
) -> list[Flight]:
    """Find flights between two airports on a day."""
    raise NotImplementedError


@action
async def cheapest(flights: list[Flight]) -> Flight:
    """Pick the cheapest of some flights."""
    raise NotImplementedError


@action(effect="external")
async def book(flight: Flight, seat: str = "any") -> Ticket:
    """Book a flight."""
    raise NotImplementedError


TRAVEL = ActionCatalog([find_airport, find_flights, cheapest, book])


def plan_for(catalog: ActionCatalog, **options: Any) -> PlanResult:
    return TypedSearch(catalog).plan(PlanningContext(**{"goal": "go", **options}))


def calls(plan: CandidatePlan | None) -> list[tuple[str | None, dict[str, Any]]]:
    assert plan is not None
    return [(step.action, step.inputs) for step in plan.steps]


def spec(name: str, takes: str = "", gives: str = "", **options: Any) -> ActionSpec:
    """An action whose inputs and outputs are texts, named by the words given."""
    return ActionSpec(
        name=name,
        ref=make_ref("action", name, "1"),
        kind="action",
        version="1",
        inputs=tuple(Slot(one, {"type": "string"}) for one in takes.split()),
        outputs=tuple(Slot(one, {"type": "string"}) for one in gives.split()),
        single_output=False,
        **options,
    )


def test_a_want_is_reached_over_several_actions() -> None:
    """By meaning, by record, and by the name of an output field."""
    have = {"day": "2026-11-20", "origin": "OSL", "destination": "BER", "seat": "12A"}
    result = plan_for(TRAVEL, wants=["booking_id"], user_inputs=have)

    assert result.ok
    assert not result.draft
    assert result.plan is not None
    assert result.plan.outputs == {"booking_id": "${book.booking_id}"}
    assert calls(result.plan) == [
        ("find_flights", {"origin": "${user.origin}", "destination": "${user.destination}", "day": "${user.day}"}),
        ("cheapest", {"flights": "${find_flights.result}"}),
        ("book", {"flight": "${cheapest}", "seat": "${user.seat}"}),
    ]
    assert [event.phase for event in result.events] == ["start", "validation", "success"]
    assert result.candidates[0].estimate is not None


def test_what_cannot_be_reached_is_asked_for() -> None:
    """Two uses of one action are told apart, and nobody is asked for a code that an action knows."""
    result = plan_for(TRAVEL, wants=["booking_id"])

    assert result.missing_inputs == {
        "origin_city": ["find_airport.city"],
        "destination_city": ["find_airport_2.city"],
        "day": ["find_flights.day"],
    }
    assert not result.ok
    assert result.plan is not None


def test_without_leave_to_be_partial_there_is_no_plan_that_lacks_inputs() -> None:
    """It is shown as a candidate, with what is missing."""
    result = plan_for(TRAVEL, wants=["booking_id"], allow_partial_plans=False)

    assert result.plan is None
    assert result.events[-1].phase == "failure"
    assert len(result.missing_inputs) == 3
    assert len(result.candidates) == 1


def test_one_value_of_the_user_is_not_both_origin_and_destination() -> None:
    """It is one thing, so the other is asked for."""
    home = Slot("home", {"type": "string"}, semantic="airport")
    result = plan_for(
        TRAVEL, wants={"trip": list[Flight]}, user_inputs={"day": "2026-11-20"}, external_slots={"home": home}
    )
    inputs = dict(calls(result.plan))["find_flights"]

    assert sorted([inputs["origin"], inputs["destination"]]) == ["${user.destination}", "${user.home}"]


def test_two_outputs_of_one_action_come_from_one_call() -> None:
    """Only one output that is needed twice is called for twice."""
    catalog = ActionCatalog([spec("look_up", "name", "street town"), spec("write", "street town", "letter")])
    result = plan_for(catalog, wants=["letter"], user_inputs={"name": "Kari"})

    assert result.ok
    assert calls(result.plan) == [
        ("look_up", {"name": "${user.name}"}),
        ("write", {"street": "${look_up.street}", "town": "${look_up.town}"}),
    ]


@pytest.mark.parametrize(
    ("wants", "output"),
    [
        (["airport"], "${find_airport.result}"),
        (["find_airport"], "${find_airport.result}"),
        (["flight_id"], "${cheapest.flight_id}"),
        ({"what": Flight}, "${cheapest}"),
        ({"total": {"type": "number"}}, "${book.total}"),
        ("total", "${book.total}"),
        ({"where": Slot("where", {"type": "string"}, semantic="airport")}, "${find_airport.result}"),
    ],
    ids=["a meaning", "an action", "an output", "a type", "a schema", "a name alone", "a slot"],
)
def test_wants_are_named_in_many_ways(wants: Any, output: str) -> None:
    """Each means one output."""
    result = plan_for(TRAVEL, wants=wants)

    assert result.plan is not None
    assert list(result.plan.outputs.values()) == [output]


def test_a_want_that_nothing_gives_is_unreachable() -> None:
    """There is no question whose answer would help."""
    result = plan_for(TRAVEL, wants=["total", "happiness"])

    assert result.unreachable == ["happiness"]
    assert result.plan is None
    assert result.events[-1].message == "no action gives happiness"


def test_a_want_of_the_wrong_type_is_unreachable() -> None:
    """The name alone is not enough."""
    assert plan_for(TRAVEL, wants={"total": {"type": "string"}}).unreachable == ["total"]


def test_a_value_that_does_not_fit_is_not_bound() -> None:
    """The user gave a day that is none, so a day is asked for under a name that is free."""
    have = {"origin": "OSL", "destination": "BER", "day": "soon"}
    result = plan_for(TRAVEL, wants={"trip": list[Flight]}, user_inputs=have)

    assert list(result.missing_inputs) == ["find_flights_day"]


def test_a_secret_is_bound_like_any_text() -> None:
    """Its value is checked, never shown."""
    catalog = ActionCatalog([spec("enter", "password", "session")])
    result = plan_for(catalog, wants=["session"], user_inputs={"password": SecretStr("hush")})

    assert result.ok
    assert "hush" not in repr(result)


def test_effects_and_costs_are_avoided_where_possible() -> None:
    """Asking least comes first, then changing least, then paying least, then doing least."""
    catalog = ActionCatalog([
        spec("ask_much", "a b", "goal"),
        spec("change", "x", "goal", policy=ActionPolicy(effect="external")),
        spec("pay", "x", "goal", policy=ActionPolicy(cost=Cost(amount=50))),
        spec("long_way", "x", "half"),
        spec("rest_of_it", "half", "goal"),
    ])  # fmt: skip
    ways = [
        calls(plan_for(catalog, wants=["goal"], user_inputs={"x": "1"}, exclude_actions=left).plan)[-1][0]
        for left in ([], ["rest_of_it"], ["rest_of_it", "pay"], ["rest_of_it", "pay", "action:change@1"])
    ]

    assert ways == ["rest_of_it", "pay", "change", "ask_much"]


def test_only_what_the_request_allows_is_used() -> None:
    """Groups, roles and exclusions."""
    catalog = ActionCatalog([
        spec("of_group", "", "goal", flow_id="sales"),
        spec("for_role", "", "goal", policy=ActionPolicy(roles=frozenset({"boss"}), cost=Cost(amount=5))),
    ])  # fmt: skip
    boss = RequestIdentity(roles=["boss"])

    assert calls(plan_for(catalog, wants=["goal"]).plan) == [("of_group", {})]
    assert plan_for(catalog, wants=["goal"], flow_ids=[]).unreachable == ["goal"]
    assert calls(plan_for(catalog, wants=["goal"], flow_ids=[], identity=boss).plan) == [("for_role", {})]


def test_preferred_keys_are_taken_first() -> None:
    """Where several would do."""
    catalog = ActionCatalog([find_airport])
    city = {"type": "string"}
    slots = {name: Slot(name, city, semantic="city") for name in ("first", "second", "third")}
    result = plan_for(catalog, wants=["airport"], external_slots=slots, preferred_external_keys=["second"])

    assert calls(result.plan) == [("find_airport", {"city": "${user.second}"})]


def test_actions_that_only_feed_each_other_are_not_used() -> None:
    """A plan cannot start in a circle; the way out is a question."""
    catalog = ActionCatalog([spec("egg", "hen", "egg"), spec("hen", "egg", "hen"), spec("omelette", "egg", "omelette")])
    result = plan_for(catalog, wants=["omelette"])

    assert calls(result.plan) == [("omelette", {"egg": "${user.egg}"})]


def test_what_is_there_already_needs_no_plan() -> None:
    """An action that gives it is preferred; without one there is nothing to do."""
    fetched = plan_for(ActionCatalog([spec("fetch", "", "report")]), wants=["report"], user_inputs={"report": "old"})
    nothing = plan_for(ActionCatalog([spec("other", "", "thing")]), wants=["report"], user_inputs={"report": "old"})

    assert calls(fetched.plan) == [("fetch", {})]
    assert nothing.plan is None
    assert nothing.validation is not None
    assert [issue.kind for issue in nothing.validation.issues] == ["empty_plan"]


def test_a_chain_of_ten_thousand_actions_is_found() -> None:
    """Nothing recurses."""
    catalog = ActionCatalog(spec(f"s{at}", f"v{at}", f"v{at + 1}") for at in range(10_000))
    result = plan_for(catalog, wants=["v10000"], user_inputs={"v0": "x"})

    assert result.ok
    assert result.plan is not None
    assert len(result.plan.steps) == 10_000


def test_a_search_can_start_from_what_has_run() -> None:
    """So a run that failed is planned on from its outcomes."""
    catalog = ActionCatalog(
        [spec("load", "path", "table"), spec("plot", "table", "picture"), spec("mend", "rows", "table")]
    )
    have = [Source(Reference("old", ("rows",)), Slot("rows", {"type": "string"}))]
    found = reach(
        catalog.view.producers.network,
        have,
        [Want("picture", (Slot("picture"),))],
        allowed=lambda one: one.name != "load",
        ask=False,
    )

    assert not found.unreachable
    assert [choice.reference for choice in found.choices.values() if isinstance(choice, Source)] == [have[0].reference]


def test_without_wants_the_words_give_a_draft() -> None:
    """In the order of the goal, with what their inputs need before them, and the rest as questions."""
    result = plan_for(TRAVEL, goal="Find flights between airports, pick the cheapest flights, then book the flight")

    assert result.draft
    found = [("find_airport", {"city": f"${{user.{role}_city}}"}) for role in ("origin", "destination")]
    assert calls(result.plan) == [
        *found,
        (
            "find_flights",
            {"origin": "${find_airport.result}", "destination": "${find_airport_2.result}", "day": "${user.day}"},
        ),
        ("cheapest", {"flights": "${find_flights.result}"}),
        ("book", {"flight": "${cheapest}"}),
    ]


def test_a_draft_adds_no_action_that_changes_anything_and_that_nobody_asked_for() -> None:
    """What such an action would give is asked for instead."""
    pay = spec("pay", "amount", "receipt", policy=ActionPolicy(effect="external"))
    look_up = spec("look_up", "amount", "receipt")
    file = spec("file", "receipt", "folder", description="File a document.")

    guessed = plan_for(ActionCatalog([pay, file]), goal="file a document")
    assert calls(guessed.plan) == [("file", {"receipt": "${user.receipt}"})]
    named = plan_for(ActionCatalog([pay, file]), goal="pay, then file a document")
    assert [name for name, _ in calls(named.plan)] == ["pay", "file"]
    with_one_that_reads = plan_for(ActionCatalog([pay, look_up, file]), goal="file a document")
    assert "pay" not in [name for name, _ in calls(with_one_that_reads.plan)]


@pytest.mark.parametrize("goal", ["", "sing", "天気"])
def test_words_that_fit_no_action_give_no_draft(goal: str) -> None:
    """The failure says so."""
    result = plan_for(TRAVEL, goal=goal)

    assert (result.plan, result.draft, result.events[-1].phase) == (None, True, "failure")


NAMES = "abcdef"
ACTIONS = st.lists(
    st.tuples(st.sets(st.sampled_from(NAMES), max_size=2), st.sets(st.sampled_from(NAMES), min_size=1, max_size=2)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300)
@given(ACTIONS, st.sets(st.sampled_from(NAMES), max_size=2), st.sets(st.sampled_from(NAMES), min_size=1, max_size=2))
def test_it_is_sound_and_complete_beside_trying_everything(
    actions: list[tuple[set[str], set[str]]], have: set[str], wants: set[str]
) -> None:
    """What it finds validates; and it asks for nothing exactly where some order of actions leads to every want."""
    catalog = ActionCatalog(
        spec(f"act{at}", " ".join(sorted(i)), " ".join(sorted(o))) for at, (i, o) in enumerate(actions)
    )
    context = PlanningContext(goal="go", wants=sorted(wants), user_inputs=dict.fromkeys(have, "x"))
    result = TypedSearch(catalog).plan(context)
    producible = {name for _, outputs in actions for name in outputs}

    assert set(result.unreachable) == wants - producible - have
    for candidate in result.candidates:
        assert not validate(candidate.plan, catalog, context.user_inputs).has_structural_errors
        assert set(candidate.plan.outputs) == wants - set(result.unreachable)
    possible = {name for order in permutations(actions) for name in reached_by(order, have)}
    if wants <= producible:
        assert result.ok == (wants <= possible)


def reached_by(order: tuple[tuple[set[str], set[str]], ...], have: set[str]) -> set[str]:
    """What actions give when they are tried in this order."""
    there = set(have)
    given: set[str] = set()
    for inputs, outputs in order:
        if inputs <= there:
            there |= outputs
            given |= outputs
    return given


async def test_what_is_called_the_same_is_preferred_to_a_cheaper_record_of_the_same_shape() -> None:
    """Both spells have one shape; the heat wave takes one call more, and is still not replaced by the dry spell."""

    class Spell(BaseModel):
        days: int

    class Dry(BaseModel):
        dry_spell: Spell

    class Hot(BaseModel):
        heat_wave: Spell

    class Table(BaseModel):
        table: list[int]

    @action
    async def load(path: str) -> Table:
        raise NotImplementedError

    @action
    async def find_dry() -> Dry:
        raise NotImplementedError

    @action
    async def find_hot(table: list[int]) -> Hot:
        raise NotImplementedError

    @action
    async def report(dry_spell: Spell, heat_wave: Spell) -> str:
        raise NotImplementedError

    catalog = ActionCatalog([load, find_dry, find_hot, report])
    result = TypedSearch(catalog).plan(PlanningContext(goal="", user_inputs={"path": "p"}, wants=["report"]))

    assert result.plan is not None
    step = next(step for step in result.plan.steps if step.action == "report")
    assert {"dry_spell": "${find_dry.dry_spell}", "heat_wave": "${find_hot.heat_wave}"} == step.inputs
