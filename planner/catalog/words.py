"""From text to the words that are compared: names are split, endings cut, scripts without spaces taken in pairs."""

import re
from collections.abc import Sequence
from functools import cache

import Stemmer

_WORD = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"  # written without spaces
    r"|[^\W_]+"
)
_SPACELESS = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_CLAUSE = re.compile(
    r"[.;:!?。！？；、，…\n]+(?=\s|$|[^\x00-\x7f])|,\s|\s[-–—]\s"
    r"|\b(?:and|then|also|after|before|finally|next|lastly|additionally|afterwards|furthermore|moreover|plus|while|as well as)\b",
    re.IGNORECASE,
)
MAX_CLAUSES = 16
"""Of a goal; the rest of a longer one counts in the whole only."""
MAX_WORD = 64
"""Letters of a word that are looked at; what is longer is no word."""

STOP_WORDS = frozenset(
    "a about all am an and any are as at be been being but by can could did do does for from had has have how i if in into is it"
    " its just let like me my need of on or our out please should so some than that the their them then there these they this"
    " those to too up us want was we were what when where which who will with would you your".split()
)
"""Words that say nothing about what an action does."""


def split_name(name: str) -> str:
    """Write `findFlights`, `find_flights` and `HTTPServer2` as words."""
    return _CAMEL.sub(" ", name.replace("_", " "))


def tokens(text: str) -> list[str]:
    """Return the words of `text` that carry meaning, without their endings, in their order."""
    found: list[str] = []
    for word in _WORD.findall(text):
        if len(word) > 1 and _SPACELESS.match(word):
            found.extend(word[at : at + 2] for at in range(len(word) - 1))
        elif (token := token_of(word)) is not None:
            found.append(token)
    return found


def clauses(text: str) -> Sequence[str]:
    """Split a goal into its parts at punctuation and at words such as `and` and `then`."""
    return [part for part in _CLAUSE.split(text, MAX_CLAUSES) if part and not part.isspace()]


def token_of(word: str) -> str | None:
    """Return the stem of one word, or `None` for one that says nothing."""
    lower = word[:MAX_WORD].lower()
    return None if lower in STOP_WORDS else _stem(lower)


def _stem(word: str) -> str:
    return _stemmer().stemWord(word)


@cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
