"""A search says what it weighed: the words, the clauses, the floor, and what it left out for which reason."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import ActionCatalog, ActionPolicy, ActionSpec, Slot, make_ref
from planner.catalog.explanation import LEFT_OUT, MOST_WORDS, Explanation
from planner.catalog.postings import FLOOR
from planner.context import RequestIdentity


def spec(
    name: str,
    about: str = "",
    *,
    takes: Sequence[str] = (),
    gives: str = "result",
    group: str | None = None,
    roles: Sequence[str] = (),
) -> ActionSpec:
    return ActionSpec(
        name=name,
        ref=make_ref("action", name, "1"),
        kind="action",
        version="1",
        inputs=tuple(Slot(one, {"type": "string"}) for one in takes),
        outputs=(Slot(gives, {"type": "string"}),),
        description=about,
        flow_id=group,
        policy=ActionPolicy(roles=frozenset(roles)),
        single_output=False,
    )


VERBS = ["paint", "weigh", "archive", "rent", "insure", "polish", "inspect", "label"]
NOUNS = ["river", "engine", "violin", "museum", "recipe", "garden", "ladder", "mirror"]
FILLING = [spec(f"{verb}_{noun}", f"{verb.title()} a {noun}") for verb in VERBS for noun in NOUNS]
TRAVEL = [
    spec("find_flights", "Find flights between two airports", takes=["origin_airport"], gives="flight_list"),
    spec("airport_of", "Tell the airport nearest to a city", takes=["city"], gives="origin_airport"),
    spec("book_flight", "Book one of several flights", takes=["flight_list"], roles=["agent"]),
    spec("plot", "Draw a chart of flights", takes=["table"], group="charts"),
]


@pytest.fixture(scope="module")
def catalog() -> ActionCatalog:
    return ActionCatalog([*FILLING, *TRAVEL])


def reasons(explanation: Explanation) -> dict[str, str]:
    return {one.name: one.reason for one in explanation.left_out}


def test_what_was_found_is_what_the_search_finds(catalog: ActionCatalog) -> None:
    """The same actions in the same order, with the same scores and reasons."""
    goal = "find flights home, then paint the museum"
    hits = catalog.search(goal, 4)
    found = catalog.explain(goal, 4).found

    assert [(one.action, one.score, one.reason) for one in found] == [
        (hit.action.ref, hit.score, hit.reason) for hit in hits
    ]
    assert [one.rank for one in found] == list(range(1, len(hits) + 1))
    assert "produces origin_airport for find_flights" in {one.reason for one in found}


def test_the_words_that_matched_are_told_as_the_goal_writes_them_with_weight_and_clause(catalog: ActionCatalog) -> None:
    """A rare word weighs more, and one that a clause repeats counts again."""
    found = catalog.explain("Painting the oldMuseum of Bergen; flying flights, flights and more flights", 30)
    words = {one.name: [(word.text, word.clause) for word in one.words] for one in found.found}

    assert found.clauses[0] == "Painting old Museum Bergen"
    assert set(words["paint_museum"]) == {("Painting", 1), ("Museum", 1)}
    assert {text for text, _ in words["find_flights"]} == {"flights"}
    assert found.unknown_words[:2] == ("old", "Bergen")
    flights = next(one for one in found.found if one.name == "find_flights").words
    once = next(one for one in catalog.explain("flights").found if one.name == "find_flights").words[0].weight
    assert sum(word.weight for word in flights) == pytest.approx(3 * once)
    weights = [word.weight for word in flights]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("goal", "rule", "says"),
    [
        ("find flights between two airports", "floor", "passed"),
        ("rent", "name", "in its name"),
        ("call airport_of", "named", "names airport_of"),
        (
            "flights between lanterns, weigh the sun, insure my life, label archives of polish recipes",
            "floor",
            "passed",
        ),
        ("zzz qqq", "no_words", "refused"),
        ("", "no_words", "refused"),
    ],
)
def test_the_rule_that_let_a_goal_pass_is_told(catalog: ActionCatalog, goal: str, rule: str, says: str) -> None:
    """And the floor beside what the best action has."""
    found = catalog.explain(goal)

    assert (found.rule, found.refused) == (rule, rule == "no_words")
    assert says in found.verdict
    assert found.floor == FLOOR
    assert found.refused == (not catalog.search(goal))


def test_a_goal_that_is_refused_is_told_with_the_score_that_it_lacks() -> None:
    """Its words are there, in a different action each."""
    words = [f"{first}{second}x" for first in "bdfgklmprt" for second in ("ala", "elo", "ima", "oru")]
    catalog = ActionCatalog([spec(f"act_{at}", word) for at, word in enumerate(words)])
    found = catalog.explain(" ".join(words[:8]))

    assert (found.rule, found.refused, found.found, found.left_out) == ("below", True, (), ())
    assert 0 < found.best < FLOOR
    assert f"{found.best:.2f}" in found.verdict


def test_a_refused_goal_names_the_score_and_what_roles_keep_back() -> None:
    """So that whoever keeps the catalog sees that it is there."""
    catalog = ActionCatalog([*FILLING, spec("open_vault", "Open the vault of the bank", roles=["banker"])])
    stranger = catalog.explain("open the vault of the bank", identity=RequestIdentity())
    banker = catalog.explain("open the vault of the bank", identity=RequestIdentity(roles=["banker"]))

    assert (stranger.refused, stranger.rule) == (True, "no_words")
    assert reasons(stranger) == {"open_vault": "needs one of the roles: banker"}
    assert banker.found[0].name == "open_vault"
    assert catalog.explain("open the vault of the bank").found[0].name == "open_vault"


def test_what_was_left_out_has_a_reason(catalog: ActionCatalog) -> None:
    """Of another flow, for other roles, behind the last hit."""
    goal = "find flights, book a flight, draw a chart of flights, then paint the museum"
    found = catalog.explain(goal, 3, flow_ids=["other"], identity=RequestIdentity())
    left = reasons(found)

    assert left["plot"] == "belongs to the flow charts"
    assert left["book_flight"] == "needs one of the roles: agent"
    assert "not among the first 3" in left.values()
    assert set(left).isdisjoint(one.name for one in found.found)
    assert len(left) <= LEFT_OUT + 3
    assert found.allowed == found.actions - 2


def test_an_action_that_is_named_and_may_not_be_used_is_left_out_with_the_reason() -> None:
    """Also where its words say nothing."""
    catalog = ActionCatalog([*FILLING, spec("do_it_all", roles=["agent"])])
    found = catalog.explain("use do_it_all for the violin", identity=RequestIdentity())

    assert reasons(found)["do_it_all"] == "needs one of the roles: agent"


def test_whether_a_draft_sends_all_is_told() -> None:
    """Up to fifty that may be used."""
    some = ActionCatalog([*FILLING[:50], spec("secret", "Keep it", roles=["agent"])])

    assert some.explain("violin", identity=RequestIdentity()).sends_all
    assert not some.explain("violin").sends_all


def test_a_small_catalog_has_no_floor() -> None:
    """Among a few actions every word is common."""
    assert ActionCatalog(TRAVEL).explain("the cheapest flights home on Friday").rule == "small"


@pytest.mark.parametrize("k", [0, -1])
def test_nothing_is_explained_where_nothing_is_asked_for(catalog: ActionCatalog, k: int) -> None:
    """Nor in an empty catalog."""
    assert catalog.explain("violin", k).found == ()
    assert ActionCatalog().explain("violin").to_dict()["refused"]


@given(st.text(max_size=200), st.integers(min_value=1, max_value=5))
def test_any_goal_can_be_explained_as_json(goal: str, k: int) -> None:
    """What is found and what is refused agree with the search."""
    catalog = ActionCatalog([*FILLING[:30], *TRAVEL])
    found = catalog.explain(goal, k, identity=RequestIdentity())

    assert [one.name for one in found.found] == [
        hit.action.name for hit in catalog.search(goal, k, identity=RequestIdentity())
    ]
    assert json.loads(json.dumps(found.to_dict()))["goal"] == goal


def test_a_goal_of_200_kb_is_explained(catalog: ActionCatalog) -> None:
    """Its words are cut off somewhere."""
    found = catalog.explain(" ".join(f"violin word{at}" for at in range(15_000)))

    assert "violin" in found.found[0].name
    assert len(found.unknown_words) == MOST_WORDS
    assert found.best > FLOOR
