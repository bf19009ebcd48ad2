"""Texts are scored by the words that they share with a question, whatever they are."""

import subprocess
import sys

import pytest

from planner.catalog.relevance import Relevance, estimate_tokens, relevance


def test_the_text_that_shares_most_words_scores_best() -> None:
    """Endings do not count, and names are split."""
    scores = relevance("book the flights to Rome", ["a flight was booked to rome", "findFlights", "the weather"])

    assert scores[0] > scores[1] > scores[2] == 0.0


def test_words_without_spaces_between_them_are_found() -> None:
    """Memory is in any language."""
    first, other = relevance("東京へ行く", ["東京の天気", "大阪"])

    assert first > other == 0.0


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("", ["rain"]),
        ("the of and", ["rain"]),
        ("rain", []),
        ("rain", ["", "the", "\ud800\x00"]),
        ("snow", ["rain", "wind"]),
    ],
    ids=["no question", "only small words", "no texts", "no words in the texts", "no word of the question"],
)
def test_what_shares_nothing_scores_nothing(query: str, texts: list[str]) -> None:
    """There is one score for each text all the same."""
    assert relevance(query, texts) == [0.0] * len(texts)


def test_one_text_alone_can_score() -> None:
    """A word that all texts have still counts."""
    assert relevance("rain", ["rain"])[0] > 0
    assert relevance("rain", ["", "rain", "rain"])[1:] == [relevance("rain", ["rain", "rain"])[0]] * 2


def test_texts_that_are_kept_are_scored_like_others() -> None:
    """Any number of questions, in any order."""
    texts = ["rain in Oslo", "", "wind and rain", "a table"]
    kept = Relevance(texts)

    for query in ("rain", "", "a table of the wind", "rain"):
        assert kept.scores(query) == relevance(query, texts)


def test_nothing_is_loaded_to_score_nothing() -> None:
    """A draft without skills must not pay for numpy."""
    program = """
import sys
from planner.catalog.relevance import Relevance, relevance
before = set(sys.modules)
assert relevance("rain", []) == [] == Relevance(()).scores("rain")
assert relevance("rain", ["", "the"]) == [0.0, 0.0]
assert {"bm25s", "numpy"}.isdisjoint(set(sys.modules) - before), set(sys.modules) - before
assert relevance("rain", ["rain"]) != [0.0] and "bm25s" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_very_long_question_is_only_slow_once() -> None:
    """200 kB are scored like a sentence."""
    scores = relevance("rain and wind " * 15_000, ["rain in Oslo", "a table"])

    assert scores[0] > scores[1] == 0.0


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("\ud800", 1), ("東京", 2)])
def test_tokens_are_estimated_from_the_bytes(text: str, tokens: int) -> None:
    """At least one where there is any text."""
    assert estimate_tokens(text) == tokens
