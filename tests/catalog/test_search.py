"""Actions are found by the words of a goal, with the producers of what they need; off topic means nothing."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import ActionCatalog, ActionPolicy, ActionSpec, Slot, make_ref
from planner.catalog.words import clauses, goal_parts, tokens
from planner.context import RequestIdentity


def spec(
    name: str, description: str = "", *, takes: tuple[str, ...] = (), gives: str = "result", group: str | None = None
) -> ActionSpec:
    return ActionSpec(
        name=name,
        ref=make_ref("action", name, "1"),
        kind="action",
        version="1",
        inputs=tuple(Slot(one, {"type": "string"}) for one in takes),
        outputs=(Slot(gives, {"type": "string"}),),
        description=description,
        flow_id=group,
        single_output=False,
    )


TRAVEL = [
    spec("find_flights", "Find flights between two airports", takes=("origin_airport", "day"), gives="flight_list"),
    spec("airport_of", "Tell the airport nearest to a city", takes=("city",), gives="origin_airport"),
    spec("getWeather", "Tell the weather of a city on a day", takes=("city", "day"), gives="forecast"),
    spec("send_mail", "Send an e-mail to a person", takes=("recipient", "body"), gives="receipt"),
    spec("plot", "Draw a chart of a table", takes=("table",), gives="picture", group="charts"),
    spec("load_table", "Read a table from a file", takes=("path",), gives="table", group="charts"),
]
NOUNS = ["river", "engine", "violin", "museum", "recipe", "garden", "invoice", "contract", "ladder", "mirror"]
VERBS = ["paint", "weigh", "archive", "rent", "insure", "polish", "inspect", "label"]
FILLING = [spec(f"{verb}_{noun}", f"{verb.title()} a {noun}") for verb in VERBS for noun in NOUNS]


@pytest.fixture(scope="module")
def catalog() -> ActionCatalog:
    return ActionCatalog([*TRAVEL, *FILLING])


def names(catalog: ActionCatalog, goal: str, k: int = 5, flow_ids: list[str] | None = None) -> list[str]:
    return [hit.action.name for hit in catalog.search(goal, k, flow_ids=flow_ids)]


@pytest.mark.parametrize(
    ("goal", "best"),
    [
        ("What will the weather be like in Bergen?", "getWeather"),
        ("mailing it to a person", "send_mail"),
        ("I want flights", "find_flights"),
        ("Please draw a chart of the rain", "plot"),
        ("polishing violins", "polish_violin"),
    ],
)
def test_the_best_action_comes_first(catalog: ActionCatalog, goal: str, best: str) -> None:
    """Endings and camel case make no difference."""
    assert names(catalog, goal)[0] == best


def test_every_clause_of_a_goal_is_served(catalog: ActionCatalog) -> None:
    """The long first clause does not crowd out the short last one."""
    goal = "Find all the cheap flights between two airports on Friday, check the weather, then paint the garden"

    assert {"find_flights", "getWeather", "paint_garden"} <= set(names(catalog, goal, 4))


def test_producers_of_required_inputs_follow_the_hits(catalog: ActionCatalog) -> None:
    """A goal about flights says nothing about the airport that they start from."""
    hits = catalog.search("flights", 1)

    assert [(hit.action.name, hit.reason) for hit in hits] == [
        ("find_flights", "words"),
        ("airport_of", "produces origin_airport for find_flights"),
    ]


@pytest.mark.parametrize(
    "goal", ["use airport_of, and look at rivers", "call `plot` for the river", "getWeather of rivers"]
)
def test_an_action_that_is_named_comes_first(catalog: ActionCatalog, goal: str) -> None:
    """A single plain word is a name only in quotes."""
    first = catalog.search(goal, 3)[0]

    assert first.reason == "named"
    assert first.action.name in goal


def test_only_the_groups_asked_for_and_global_actions_are_found(catalog: ActionCatalog) -> None:
    """Also among the producers."""
    goal = "draw a chart of a table, and find flights"

    assert {"plot", "load_table"} <= set(names(catalog, goal, flow_ids=["charts"]))
    assert {"plot", "load_table"}.isdisjoint(names(catalog, goal, flow_ids=["other"]))
    assert names(catalog, goal, flow_ids=[])[0] == "find_flights"


@pytest.mark.parametrize(
    "goal",
    ["", "   ", "?!", "the and of", "thanks, that is all", "sing a lullaby about dragons", "qwertz asdf", "天気"],
)
def test_a_goal_off_topic_finds_nothing(catalog: ActionCatalog, goal: str) -> None:
    """Better no capability than five actions that have nothing to do with it."""
    assert names(catalog, goal) == []


def words_of(number: int) -> list[str]:
    return [f"{part}{'aeiou'[number % 5]}{'bdfgklmprt'[number // 5]}x" for part in ("al", "be", "ga", "de")]


FLAT = ActionCatalog([spec(f"act_{at}", " ".join(words_of(at))) for at in range(50)])
"""Every word is in one description, and in no name."""


@pytest.mark.parametrize(
    ("goal", "found"),
    [
        ([words_of(1)[0], words_of(2)[0], words_of(3)[0], words_of(4)[0]], False),
        ([words_of(1)[0]], False),
        ([*words_of(1)[:2]], True),
        ([*words_of(1)[:3], words_of(2)[0], words_of(3)[0], words_of(4)[0], words_of(5)[0], words_of(6)[0]], True),
        ([*words_of(1)[:1] * 3, words_of(2)[0]], True),
    ],
    ids=["a word of each of four", "one word", "all of it, two words", "enough to score", "one word, again and again"],
)
def test_how_much_an_action_has_to_share_with_a_goal(goal: list[str], *, found: bool) -> None:
    """Two words and the floor; one word and a higher one; or most of a short goal."""
    assert bool(names(FLAT, " ".join(goal))) is found


def test_actions_for_other_roles_and_those_that_are_excluded_are_not_found(catalog: ActionCatalog) -> None:
    """By name or reference; nor are they found as producers. Without an identity, no role is asked for."""
    pilots = replace(TRAVEL[1], policy=ActionPolicy(roles=frozenset({"pilot"})))
    guarded = ActionCatalog(pilots if one.name == pilots.name else one for one in catalog)

    def found(**options: Any) -> list[str]:
        return [hit.action.name for hit in guarded.search("airport_of for flights", 2, **options)]

    assert found()[0] == found(identity=RequestIdentity(roles=["pilot"]))[0] == "airport_of"
    assert "airport_of" not in found(identity=RequestIdentity())
    for excluded in ("airport_of", "action:airport_of@1"):
        assert "airport_of" not in found(exclude=[excluded, "unknown"])


def test_an_empty_catalog_finds_nothing() -> None:
    """There is nothing to index."""
    assert names(ActionCatalog(), "weather") == []


def test_no_hits_are_given_when_none_are_asked_for(catalog: ActionCatalog) -> None:
    """Nor their producers."""
    assert names(catalog, "weather", 0) == []


def test_a_small_catalog_is_searched_by_any_word() -> None:
    """Among three actions every word is common."""
    small = ActionCatalog(TRAVEL[:3])

    assert names(small, "Book the cheapest flights home on Friday")[0] == "find_flights"


@pytest.mark.parametrize(
    ("description", "goal"),
    [
        ("都市の天気を調べる", "東京の天気"),
        ("узнать погоду в городе", "погода в городе"),
        ("पता करें मौसम", "मौसम"),
        ("ค้นหาสภาพอากาศ", "สภาพอากาศวันนี้"),
    ],
)
def test_other_scripts_are_found(description: str, goal: str) -> None:
    """Those without spaces are compared by pairs of letters."""
    catalog = ActionCatalog([*FILLING, spec("weather", description)])

    assert names(catalog, goal)[:1] == ["weather"]


@pytest.mark.parametrize(
    "goal", ["weather " * 25_000, "x" * 200_000, "weather, " * 22_000, "a.b.c " * 33_000, "`" * 200_000]
)
def test_a_very_long_goal_is_searched(catalog: ActionCatalog, goal: str) -> None:
    """200 kB of it; no pattern takes for ever."""
    assert ("getWeather" in names(catalog, goal)) == ("weather" in goal)


def test_the_order_is_the_same_every_time(catalog: ActionCatalog) -> None:
    """Prompts are cached by their text."""
    goal = "inspect something, and rent it"

    assert names(catalog, goal, 20) == names(ActionCatalog([*TRAVEL, *FILLING]), goal, 20)


def test_the_index_follows_the_catalog() -> None:
    """What is added is found, and its newest version."""
    catalog = ActionCatalog(FILLING)
    before = names(catalog, "translate a letter")
    catalog.add(spec("translate_letter", "Translate a letter"))

    assert before == []
    assert names(catalog, "translate a letter")[0] == "translate_letter"


@given(st.text(max_size=200), st.integers(min_value=1, max_value=30))
def test_any_text_can_be_searched(goal: str, k: int) -> None:
    """At most k hits, each action once, and at most ten producers."""
    catalog = ActionCatalog(random.Random(1).sample([*TRAVEL, *FILLING], 40))
    hits = catalog.search(goal, k)

    assert len({hit.action.ref for hit in hits}) == len(hits)
    assert sum(hit.reason in ("words", "named") for hit in hits) <= k
    assert len(hits) <= k + 10


def test_goals_are_split_into_clauses() -> None:
    """At sentences, commas and words of order; what says too little stays with its neighbour."""
    goal = "Load the big table, then draw a chart. Finally send it by mail and go"

    assert [part.strip() for part in clauses(goal)] == ["Load the big table", "draw a chart", "send it by mail   go"]
    assert goal_parts("Load the table. Draw!") == [[["load", "tabl"]], [["draw"]]]


def test_words_that_say_nothing_are_left_out() -> None:
    """Names are split before; numbers count."""
    assert tokens("Tell me the prices of 3 flights") == ["tell", "price", "3", "flight"]
