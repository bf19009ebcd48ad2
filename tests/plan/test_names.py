"""A slip of the pen is told from another word."""

from collections.abc import Iterator
from itertools import product

import pytest

from planner.plan.mending import names
from planner.plan.mending.names import clear_match, contained_match, edit_distance, loose_match, words


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("find_flihgts", ["find_flights", "find_hotels"], "find_flights"),
        ("ind_flights", ["find_flights"], "find_flights"),
        ("findFlights", ["find_flights", "find_flight"], "find_flights"),
        ("flights-find", ["find_flights"], "find_flights"),
        ("Tool.findbus", ["tool_find_bus"], "tool_find_bus"),
        ("gt_alarm", ["set_alarm", "get_alarm"], "get_alarm"),
        ("calculate_avreage_rainfal", ["calculate_average_rainfall"], "calculate_average_rainfall"),
        ("größe", ["Größe"], "Größe"),
    ],
)
def test_a_slip_has_one_meaning(name: str, known: list[str], meant: str) -> None:
    """Other spelling, swapped, dropped and doubled letters."""
    assert clear_match(name, known) == meant


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("encrypt", ["decrypt"]),
        ("import_table", ["export_table"]),
        ("subscribe", ["unsubscribe"]),
        ("reactivate", ["deactivate"]),
        ("set_alarm", ["get_alarm"]),
        ("s1", ["s2", "s3"]),
        ("page_1", ["page_12"]),
        ("find_usr", ["find_user", "find_usrs"]),
        ("findUser", ["find_user", "FindUser"]),
        ("", ["a"]),
        ("???", ["a"]),
        ("weather", []),
    ],
)
def test_another_word_is_no_slip(name: str, known: list[str]) -> None:
    """Opposites, other numbers, and names that could be either of two."""
    assert clear_match(name, known) is None


def test_names_are_split_into_words() -> None:
    """Whatever way they are written."""
    assert {words(name) for name in ("findFlights2", "find_flights_2", "FIND-FLIGHTS.2")} == {("find", "flights", "2")}


def test_a_contained_name_is_the_longest_one() -> None:
    """Two of the same length say nothing."""
    assert contained_match("input_departure_date", ["date", "departure_date", "city"]) == "departure_date"
    assert contained_match("date_city", ["date", "city"]) is None


def test_a_loose_match_is_the_only_best_one() -> None:
    """Plurals are the same word."""
    assert loose_match("search_restaurants", ["restaurant_search_all", "movie_search"]) == "restaurant_search_all"
    assert loose_match("search", ["search_a", "search_b"]) is None


@pytest.mark.parametrize(
    ("left", "right", "count"), [("", "abc", 3), ("abc", "abc", 0), ("abcd", "acbd", 1), ("kitten", "sitting", 3)]
)
def test_edits_are_counted(left: str, right: str, count: int) -> None:
    """A swap of neighbours is one."""
    assert edit_distance(left, right) == count


def slips(word: str) -> Iterator[str]:
    """Yield `word` with one letter dropped, doubled, changed, or swapped with the next."""
    for at, letter in enumerate(word):
        rest = word[at + 1 :]
        yield word[:at] + rest
        yield word[:at] + letter + letter + rest
        yield word[:at] + "qz"[letter == "q"] + rest
        yield word[:at] + rest[:1] + letter + rest[1:]


@pytest.mark.parametrize("known", ["find_flights", "a_calculation", "convert_reservations"])
def test_every_slip_has_its_meaning_in_a_large_catalog(known: str) -> None:
    """What is told apart quickly must not hide what is meant: one slip, and two in a long word."""
    first, last = known.split("_")
    others = [
        f"{one}_{other}_{at}" for at, (one, other) in enumerate(product(["get", "sell", "open"] * 20, ["x", "cat"]))
    ]
    for slip in slips(last):
        if slip[:1] == last[0] and len(slip) > 3:
            assert clear_match(f"{first}_{slip}", [*others, known]) == known
            for twice in slips(slip) if len(last) > 10 else ():
                if twice[:1] == last[0] and edit_distance(twice, last) <= 2:
                    assert clear_match(f"{first}_{twice}", [*others, known]) == known


def test_of_a_large_catalog_few_names_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 10 µs a pair of words, and a plan may have many unknown names."""
    compared: list[tuple[str, str]] = []

    def counted(left: str, right: str) -> int:
        compared.append((left, right))
        return edit_distance(left, right)

    monkeypatch.setattr(names, "edit_distance", counted)
    syllables = product("bcdfg", "aeiou", "lmnpr", "aeiou", "stkvz")
    known = [f"{''.join(letters)}_table" for letters in syllables]

    assert clear_match("hippo_table", known) is None
    assert clear_match("bolutt_table", known) == "bolut_table"
    assert len(compared) < 100 < len(known)
