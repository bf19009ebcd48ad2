"""What has one explanation is mended, everything else is left alone, and every change can be taken back."""

from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan, ValidationIssue, repair, undo_patches, validate


class Flight(BaseModel):
    flight_id: str
    price: float


class Weather(BaseModel):
    temperature: float
    description: str
    city: str


class Ticket(BaseModel):
    booking_id: str
    total: float


@action
async def find_flights(
    origin: str,
    destination: str,
    day: date,
    limit: int = 10,
    direct: bool = False,  # noqa: FBT001, FBT002 - booleans are what it is about
    cabin: Literal["economy", "business"] = "economy",
) -> list[Flight]:
    """Find flights."""
    raise NotImplementedError


@action
async def cheapest(flights: list[Flight]) -> Flight:
    """Pick the cheapest flight."""
    raise NotImplementedError


@action(effect="external")
async def book(flight: Flight, seats: int = 1, notes: list[str] | None = None) -> Ticket:
    """Book a flight."""
    raise NotImplementedError


@action
async def get_weather(city: str, day: date) -> Weather:
    """Tell the weather."""
    raise NotImplementedError


@action
async def write_note(text: str, amount: float = 0, tags: tuple[str, ...] = ()) -> str:
    """Write a note."""
    raise NotImplementedError


CATALOG = ActionCatalog([find_flights, cheapest, book, get_weather, write_note])

GOOD: dict[str, Any] = {
    "steps": [
        {
            "id": "search",
            "action": "find_flights",
            "inputs": {"origin": "OSL", "destination": "BER", "day": "2026-11-20", "limit": 5, "direct": True},
        },
        {"id": "pick", "action": "cheapest", "inputs": {"flights": "${search.result}"}},
        {"id": "trip", "action": "book", "inputs": {"flight": "${pick}", "seats": 2}},
        {"id": "sky", "action": "get_weather", "inputs": {"city": "${user.city}", "day": "2026-11-20"}},
        {
            "id": "note",
            "action": "write_note",
            "inputs": {"text": "Booked ${trip.booking_id}, ${sky.description}", "amount": "${trip.total}"},
            "after": ["sky"],
        },
    ],
    "outputs": {"booking": "${trip.booking_id}", "note": "${note.result}"},
}


def changed(*changes: tuple[str, Any]) -> CandidatePlan:
    """The good plan with other values at `step.field` places; `...` takes one away."""
    document = CandidatePlan.from_dict(GOOD).model_copy(deep=True).to_dict()
    for place, value in changes:
        step_id, *path = place.split(".")
        node: Any = next((step for step in document["steps"] if step["id"] == step_id), document)
        for part in path[:-1]:
            node = node[part]
        if value is ...:
            del node[path[-1]]
        else:
            node[path[-1]] = value
    return CandidatePlan.from_dict(document)


def issues_of(plan: CandidatePlan) -> list[ValidationIssue]:
    return validate(plan, CATALOG, {"city": "Oslo"}).issues


def mended(plan: CandidatePlan, **options: Any) -> CandidatePlan:
    return repair(plan, issues_of(plan), CATALOG, **options).plan


MENDED: dict[str, list[tuple[str, Any]]] = {
    "a slip in an action's name": [("search.action", "find_fligths")],
    "an action's name written another way": [("search.action", "FindFlights")],
    "an invented action of the same shape": [("sky.action", "fetch_weather")],
    "a slip in an input's name": [("search.inputs.origni", "OSL"), ("search.inputs.origin", ...)],
    "an input's name with a word too many": [("sky.inputs.city_name", "${user.city}"), ("sky.inputs.city", ...)],
    "an invented name of the one missing input": [
        ("search.inputs.to_where", "BER"),
        ("search.inputs.destination", ...),
    ],
    "an input that explains itself": [("search.inputs.reasoning", "as asked")],
    "a slip in an output's name": [("note.inputs.amount", "${trip.totl}")],
    "an output's name with a word too many": [("note.inputs.amount", "${trip.total_value}")],
    "a slip inside a text": [("note.inputs.text", "Booked ${trip.bookingId}, ${sky.descripton}")],
    "a slip in a step's name": [("note.inputs.amount", "${tripp.total}")],
    "the action's name in place of the step's": [("pick.inputs.flights", "${find_flights.result}")],
    "a step that is not there": [("note.inputs.amount", "${ghost.total}")],
    "a step that is not there, in the outputs": [("x.outputs.booking", "${ghost.booking_id}")],
    "the wrong name of a whole value": [("trip.inputs.flight", "${pick.result}")],
    "another name for the only output": [("pick.inputs.flights", "${search.output}")],
    "a slip in `after`": [("note.after", ["skyy"])],
    "a number as text": [("search.inputs.limit", "5")],
    "a boolean as text": [("search.inputs.direct", "True")],
    "several at once": [
        ("search.action", "find_flight"),
        ("trip.inputs.seats", "2"),
        ("pick.inputs.flights", "${serach.result}"),
    ],
}


@pytest.mark.parametrize("changes", MENDED.values(), ids=MENDED.keys())
def test_one_explanation_is_mended(changes: list[tuple[str, Any]]) -> None:
    """The plan is as it was meant, it validates, and the patches say what was done."""
    broken = changed(*changes)
    result = repair(broken, issues_of(broken), CATALOG)

    assert result.plan.to_dict() == CandidatePlan.from_dict(GOOD).to_dict()
    assert all(patch.reason for patch in result.patches)
    assert undo_patches(result.plan, result.patches) == broken


@pytest.mark.parametrize(
    ("place", "given", "meant"),
    [
        ("search.inputs.cabin", "Business", "business"),
        ("search.inputs.cabin", "busines", "business"),
        ("note.inputs.tags", '["a", "b"]', ["a", "b"]),
        ("note.inputs.text", 12, "12"),
        ("note.inputs.text", True, "true"),
        ("note.inputs.amount", " 1.5e3 ", 1500.0),
        ("search.inputs.limit", None, ...),
        ("note.inputs.tags", ["x", 5], ["x", "5"]),
    ],
)
def test_a_literal_is_written_in_the_type_of_its_place(place: str, given: Any, meant: Any) -> None:
    """Also inside a list, and where null is no value."""
    assert mended(changed((place, given))) == changed((place, meant))


LEFT: dict[str, list[tuple[str, Any]]] = {
    "nothing wrong": [],
    "a missing input": [("search.inputs.origin", ...)],
    "a wrong but existing step": [("note.inputs.amount", "${sky.total}")],
    "a wrong but existing step of the right type": [("note.inputs.amount", "${sky.temperature}")],
    "a wrong but existing output": [("note.inputs.amount", "${trip.booking_id}")],
    "a step of whose place nothing is known": [("note.inputs.text", "${ghost.anything}")],
    "an unknown action unlike any other": [("search.action", "teleport")],
    "a value that is superfluous and data": [("sky.inputs.extra", "${trip.total}")],
    "a superfluous value that an optional input could take": [("trip.inputs.seats", ...), ("trip.inputs.people", 3)],
    "inputs of another action": [("search.inputs", {"city": "Oslo", "day": "2026-11-20"})],
    "a cycle": [("search.inputs.origin", "${note.result}")],
    "text that is no number": [("search.inputs.limit", "five")],
    "a fraction for a whole number": [("search.inputs.limit", "2.5")],
    "a binding that is not closed": [("note.inputs.text", "Hello ${trip.total")],
    "a valid action": [("pick.action", "get_weather")],
}


@pytest.mark.parametrize("changes", LEFT.values(), ids=LEFT.keys())
def test_what_could_mean_several_things_is_left_alone(changes: list[tuple[str, Any]]) -> None:
    """A guess would turn a plan that is refused into one that does something else."""
    broken = changed(*changes)

    assert repair(broken, issues_of(broken), CATALOG).patches == ()


def test_a_step_that_was_left_out_is_not_replaced_by_another() -> None:
    """`s2` between `s1` and `s3` was dropped; `s1` has an output of that name, but was not meant."""
    plan = CandidatePlan.from_dict({
        "steps": [
            {"id": "s1", "action": "get_weather", "inputs": {"city": "Oslo", "day": "2026-11-20"}},
            {"id": "s3", "action": "write_note", "inputs": {"text": "x", "amount": "${s2.temperature}"}},
        ]
    })  # fmt: skip

    assert repair(plan, issues_of(plan), CATALOG).patches == ()


def test_two_steps_that_fit_are_not_chosen_between() -> None:
    """A dangling reference with two targets has two explanations."""
    steps = [
        {"id": name, "action": "get_weather", "inputs": {"city": name, "day": "2026-11-20"}}
        for name in ("oslo", "rome")
    ]
    note = {"id": "note", "action": "write_note", "inputs": {"text": "x", "amount": "${ghost.temperature}"}}
    plan = CandidatePlan.from_dict({"steps": [*steps, note]})

    assert repair(plan, issues_of(plan), CATALOG).patches == ()


def test_a_mend_never_makes_a_step_wait_for_itself() -> None:
    """The only step with that output comes later, so it cannot be meant."""
    plan = CandidatePlan.from_dict({
        "steps": [
            {"id": "a", "action": "write_note", "inputs": {"text": "${ghost.description}"}},
            {"id": "b", "action": "get_weather", "inputs": {"city": "${a.result}", "day": "2026-11-20"}},
        ]
    })  # fmt: skip

    assert repair(plan, issues_of(plan), CATALOG).patches == ()


def test_a_slip_of_a_key_that_the_user_gave_is_mended() -> None:
    """Only where the caller says which keys there are."""
    broken = changed(("sky.inputs.city", "${user.ctiy}"), ("search.inputs.origin", "${city}"))

    assert mended(broken, user_keys=["city"]) == changed(("search.inputs.origin", "${user.city}"))


def test_only_allowed_actions_are_brought_in() -> None:
    """A repair does not lead around a restriction."""
    broken = changed(("search.action", "find_flight"))

    assert mended(broken, actions={"book", "cheapest"}) == broken


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"action_ref": "find_flights"}, {"action_ref": "action:find_flights@0.1.0"}),
        ({"action_ref": "action:find_fligths@0.1.0"}, {"action_ref": "action:find_flights@0.1.0"}),
        ({"action_ref": "action:find_flights@7"}, {"action_ref": "action:find_flights@7"}),
        (
            {"action": "find_fligths", "action_ref": "action:find_flights@0.1.0"},
            {"action": "find_flights", "action_ref": "action:find_flights@0.1.0"},
        ),
        (
            {"action": "cheapest", "action_ref": "action:find_flights@0.1.0"},
            {"action": "cheapest", "action_ref": "action:find_flights@0.1.0"},
        ),
    ],
    ids=["a name", "a slip", "a version that is gone", "a slip beside a reference", "two actions"],
)
def test_references_are_mended_like_names(given: dict[str, str], meant: dict[str, str]) -> None:
    """A version and a choice between two existing actions are the author's to make."""
    inputs = {"origin": "A", "destination": "B", "day": "2026-11-20"}
    plan = CandidatePlan.from_dict({"steps": [{"id": "s", "inputs": inputs, **given}]})
    expected = CandidatePlan.from_dict({"steps": [{"id": "s", "inputs": inputs, **meant}]})

    assert mended(plan) == expected


def test_an_id_that_breaks_the_rules_is_replaced_everywhere() -> None:
    """Ids mean nothing, so any that keeps the rules will do."""
    plan = CandidatePlan.from_dict({
        "steps": [
            {"id": "1", "action": "get_weather", "inputs": {"city": "Oslo", "day": "2026-11-20"}},
            {"id": "2nd note", "action": "write_note", "after": ["1"], "inputs": {
                "text": "$${1.x} ${ 1.city } ${1.description}"
            }},
        ],
        "outputs": {"note": "${2nd note.result}"},
    })  # fmt: skip
    result = repair(plan, issues_of(plan), CATALOG)

    assert validate(result.plan, CATALOG).ok
    assert [step.id for step in result.plan.steps] == ["s1", "s2nd_note"]
    assert result.plan.steps[1].inputs["text"] == "$${1.x} ${s1.city } ${s1.description}"
    assert undo_patches(result.plan, result.patches) == plan


def test_a_step_that_is_there_twice_word_for_word_is_there_once() -> None:
    """Two different steps of one id stay."""
    step = {"id": "a", "action": "write_note", "inputs": {"text": "x"}}
    other = {"id": "b", "action": "write_note", "inputs": {"text": "${a.result}"}}
    plan = CandidatePlan.from_dict({"steps": [step, other, step]})
    different = CandidatePlan.from_dict({"steps": [step, {**step, "inputs": {"text": "y"}}, other]})
    result = repair(plan, issues_of(plan), CATALOG)

    assert [one.id for one in result.plan.steps] == ["b", "a"]
    assert undo_patches(result.plan, result.patches) == plan
    assert mended(different) == different


def test_a_plan_that_was_changed_since_cannot_be_undone() -> None:
    """Undoing would write over somebody's work."""
    broken = changed(("search.inputs.limit", "5"))
    result = repair(broken, issues_of(broken), CATALOG)

    with pytest.raises(ValueError, match="changed"):
        undo_patches(changed(("search.inputs.limit", 6)), result.patches)


def test_ten_thousand_steps_with_a_fault_each_are_left_in_time() -> None:
    """A plan like that was not misspelt; it must not take for ever to say so."""
    steps = [{"id": f"s{at}", "action": "write_note", "inputs": {"text": f"${{ghost{at}x.y}}"}} for at in range(10_000)]
    plan = CandidatePlan.from_dict({"steps": steps})
    place = {"location": ["inputs", "text"]}
    issues = [ValidationIssue("unknown_step", str(step["id"]), "text", "", place) for step in steps]

    assert repair(plan, issues, CATALOG).patches == ()


TEXTS = st.sampled_from([
    "${trip.totl}", "${serach.result}", "${ghost.total}", "${find_flights}", "${user.ctiy}", "${note.rsult}", "${1.x}",
    "${pick.prices}", "${sky.data} and ${sky.temprature}", "5", "true", "[1]", "${",
]) | st.text(max_size=6)  # fmt: skip
ACTIONS = st.sampled_from(["find_flight", "get_wether", "write note", "teleport", "fetch_weather", "book"])
INPUTS = st.dictionaries(
    st.sampled_from(["flight", "flihgt", "seats", "seat", "reasoning", "param", "city", "origin", "text", "limit"]),
    TEXTS | st.integers() | st.none() | st.lists(TEXTS, max_size=2),
    max_size=4,
)
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["search.action", "sky.action", "trip.action"]), ACTIONS),
    st.tuples(st.sampled_from(["search.inputs", "trip.inputs", "note.inputs", "x.outputs"]), INPUTS),
    st.tuples(
        st.sampled_from(["pick.inputs.flights", "note.inputs.text", "note.inputs.amount", "search.for_each"]), TEXTS
    ),
    st.tuples(
        st.just("note.after"), st.lists(st.sampled_from(["sky", "skyy", "ghost", "find_flights", "note"]), max_size=2)
    ),
    st.tuples(st.sampled_from(["search.id", "sky.id", "note.id"]), st.sampled_from(["1", "trip", "my step", "user"])),
)


@settings(max_examples=300)
@given(st.lists(CHANGES, max_size=4, unique_by=lambda change: change[0]), st.sampled_from([[], ["city"]]))
def test_repair_is_idempotent_and_can_be_undone(changes: list[tuple[str, Any]], keys: list[str]) -> None:
    """Whatever is wrong with a plan."""
    changes.sort(key=lambda change: change[0].endswith(".id"))  # the other places are found by the old ids
    broken = changed(*changes)
    result = repair(broken, issues_of(broken), CATALOG, user_keys=keys)
    again = repair(result.plan, issues_of(result.plan), CATALOG, user_keys=keys)

    assert again.patches == ()
    assert undo_patches(result.plan, result.patches) == broken
