"""From text to the words that are compared: names are split, endings cut, scripts without spaces taken in pairs."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

import Stemmer

_WORD = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"  # written without spaces
    r"|[^\W_]+"
)
_SPACELESS = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_SENTENCE = re.compile(r"[.;:!?\n]+(?=\s|$)|[\u3002\uff01\uff1f\uff1b\n]+")  # the second: full-width marks
_CLAUSE = re.compile(
    r"[\u3001\uff0c…]|,\s|\s[-–—]\s"
    r"|\b(?:and|then|also|after|before|finally|next|lastly|additionally|afterwards|furthermore|moreover|plus|while"
    r"|as well as)\b",
    re.IGNORECASE,
)
MAX_SENTENCES = 24
"""Of a goal; the rest of a longer one counts as one."""
MAX_CLAUSES = 6
"""Of a sentence."""
MIN_WORDS = 3
"""A clause with fewer says too little, so it counts with the one before."""
MAX_WORD = 64
"""Letters of a word that are looked at; what is longer is no word."""

STOP_WORDS = frozenset(
    """
    a about all am an and any are as at be been being but by can could did do does for from had has have how i if in
    into is it its just let like me my need of on or our out please should so some than that the their them then
    there these they this those to too up us want was we were what when where which who will with would you your
    """.split()  # noqa: SIM905 -- a page of words reads better than a page of quotation marks
)
"""Words that say nothing about what an action does."""


def split_name(name: str) -> str:
    """Write `findFlights`, `find_flights` and `HTTPServer2` as words."""
    return _CAMEL.sub(" ", name.replace("_", " "))


def tokens(text: str) -> list[str]:
    """Return the words of `text` that carry meaning, without their endings, in their order."""
    return [token for token, _ in spelled(text)]


def spelled(text: str) -> Iterator[tuple[str, str]]:
    """Yield each token of `text` with the word as it is written there."""
    for word in _WORD.findall(text):
        if len(word) > 1 and _SPACELESS.match(word):
            for at in range(len(word) - 1):
                yield word[at : at + 2], word[at : at + 2]
        elif (token := token_of(word)) is not None:
            yield token, word


def clauses(goal: str, least: int = 2) -> list[str]:
    """Split a goal into the texts of its clauses; one of fewer words than `least` stands with the one before."""
    found: list[str] = []
    for sentence in _SENTENCE.split(goal, MAX_SENTENCES):
        first = len(found)
        for clause in _CLAUSE.split(sentence, MAX_CLAUSES):
            if len(found) > first and len(tokens(split_name(clause))) < least:
                found[-1] += f" {clause}"
            elif clause.strip():
                found.append(clause)
    return found


def goal_parts(goal: str) -> list[list[list[str]]]:
    """Split a goal into sentences of clauses of words."""
    return [[[token for token, _ in clause] for clause in sentence] for sentence in spelled_parts(goal)]


def spelled_parts(goal: str) -> list[list[list[tuple[str, str]]]]:
    """Split a goal as `goal_parts` does, each word with how it is written there."""
    parts: list[list[list[tuple[str, str]]]] = []
    for sentence in _SENTENCE.split(goal, MAX_SENTENCES):
        found: list[list[tuple[str, str]]] = []
        for clause in _CLAUSE.split(sentence, MAX_CLAUSES):
            words = list(spelled(split_name(clause)))
            if found and len(words) < MIN_WORDS:
                found[-1] += words
            elif words:
                found.append(words)
        if found:
            parts.append(found)
    return parts


def token_of(word: str) -> str | None:
    """Return the stem of one word, or `None` for one that says nothing."""
    lower = word[:MAX_WORD].lower()
    return None if lower in STOP_WORDS else _stem(lower)


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    # An untyped extension module. Each call has its own stemmer: one is not safe to share between threads.
    return str(cast("Any", Stemmer).Stemmer("english").stemWord(word))
