"""Phrases: each means one thing, in all the languages together."""

import pytest

from planner.dialogue.phrases import AGREEMENT, DROPPING, POLITE, REFUSAL, SMALL_TALK, decision, normal, yes_or_no


def test_no_phrase_means_two_things() -> None:
    """Between the languages too."""
    groups = [AGREEMENT, REFUSAL, DROPPING, frozenset(SMALL_TALK)]
    assert POLITE.isdisjoint(AGREEMENT | REFUSAL | DROPPING)

    assert sum(map(len, groups)) == len(frozenset().union(*groups))
    assert all(phrase == normal(phrase) for group in groups for phrase in group)


ASKED_AS_TRUE_OR_FALSE = {
    "y": True,
    "Ja": True,
    "true": True,
    "n": False,
    "não": False,
    "FALSE": False,
    "x": None,
    "cancel": None,
}


@pytest.mark.parametrize(("text", "value"), ASKED_AS_TRUE_OR_FALSE.items(), ids=ASKED_AS_TRUE_OR_FALSE.keys())
def test_what_is_true_or_false_is_read_in_many_languages(text: str, value: bool | None) -> None:  # noqa: FBT001 - a value
    """A command line asks for it as well."""
    assert yes_or_no(text) is value


def test_many_phrases_in_a_row_are_read_in_reasonable_time() -> None:
    """Each of them could be divided in two ways."""
    assert decision("yes please " * 5 + "x") is None
    assert decision("ok do it now " * 4) == "approve"
