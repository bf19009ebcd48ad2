"""Texts are scored by the words that they share with a question, whatever they are."""

import pytest

from planner.catalog.relevance import estimate_tokens, relevance


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


def test_a_very_long_question_is_only_slow_once() -> None:
    """200 kB are scored like a sentence."""
    scores = relevance("rain and wind " * 15_000, ["rain in Oslo", "a table"])

    assert scores[0] > scores[1] == 0.0


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("\ud800", 1), ("東京", 2)])
def test_tokens_are_estimated_from_the_bytes(text: str, tokens: int) -> None:
    """At least one where there is any text."""
    assert estimate_tokens(text) == tokens
