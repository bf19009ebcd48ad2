"""What people do not see in a description, a model does not see either."""

import unicodedata

import pytest

from planner.drafting.signatures import one_line


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2066", "\u200b", "\u200f", "\ufeff", "\u00ad", "\u2060", "\U000e0041"], ids=unicodedata.name
)
def test_a_description_has_no_hidden_characters(hidden: str) -> None:
    assert one_line(f"Read{hidden} a\n{hidden}table.") == "Read a table."


def test_the_joiners_that_some_languages_are_written_with_stay() -> None:
    assert one_line("می\u200cروم ශ්\u200dරී") == "می\u200cروم ශ්\u200dරී"
