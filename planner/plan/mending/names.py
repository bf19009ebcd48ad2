"""Names that resemble each other: a slip of the pen, told apart from another word."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_MOST = 2
"""Slips in one name."""
_LONG = 9
"""Words of this many letters may have two slips; in shorter ones they often make another word (import, export)."""
_SHORT = 4
"""In words below this, another letter makes another word (get, set); only dropped, added and swapped letters count."""

FILLERS = frozenset({"action", "api", "call", "do", "function", "perform", "run", "the", "tool"})
"""Words that models put around a name."""
_SYNONYMS = (
    "get fetch retrieve read load lookup find search query list show obtain",
    "create make add new generate produce build",
    "calculate compute calc determine",
    "send dispatch deliver",
    "convert transform",
    "translate interpret",
    "analyze analyse examine inspect evaluate assess",
    "check verify validate confirm",
    "book reserve order buy purchase",
    "delete remove drop",
    "update edit change modify",
)
_VERBS = {word: line.split()[0] for line in _SYNONYMS for word in line.split()}


@lru_cache(maxsize=32_768)  # a large catalog's names are compared again for every fault
def words(name: str) -> tuple[str, ...]:
    """Split `findFlights2`, `find_flights_2` and `FIND-FLIGHTS.2` into the same lower-case words."""
    return tuple(word.lower() for word in _WORDS.findall(name))


def clear_match(name: str, known: Iterable[str]) -> str | None:
    """Return the one known name that `name` is surely meant to be, or `None` where there is none or more than one.

    It is the same words written another way, or a few letters away. Numbers are never slips: `s1` is not `s2`.
    """
    candidates = list(dict.fromkeys(known))
    wanted = words(name)
    if not wanted:
        return None
    joined, ordered = "".join(wanted), sorted(wanted)
    split = [(other, theirs := words(other), "".join(theirs)) for other in candidates]
    for same in (
        [other for other, theirs, _ in split if theirs == wanted],
        [other for other, _, letters in split if letters == joined],
        [other for other, theirs, _ in split if len(theirs) == len(wanted) and sorted(theirs) == ordered],
    ):
        if same:
            return same[0] if len(same) == 1 else None
    # most names of a large catalog are too long or too short to be compared any further
    near = [(other, theirs) for other, theirs, letters in split if abs(len(letters) - len(joined)) <= _MOST]
    slips = sorted((count, other) for other, theirs in near if (count := _slips(wanted, theirs)) is not None)
    if not slips or (len(slips) > 1 and slips[1][0] == slips[0][0]):
        return None
    return slips[0][1]


def contained_match(name: str, known: Iterable[str]) -> str | None:
    """Return the one known name all of whose words are in `name`, the longest: `date` for `input_date`."""
    wanted = _stems(name)
    found = sorted(
        ((len(theirs), other) for other in dict.fromkeys(known) if (theirs := _stems(other)) and theirs <= wanted),
        reverse=True,
    )
    if not found or (len(found) > 1 and found[1][0] == found[0][0]):
        return None
    return found[0][1]


def loose_match(name: str, known: Iterable[str], least: float = 0.3) -> str | None:
    """Return the one known name that shares most words with `name`, and at least this part of both: no proof alone."""
    wanted = _stems(name)
    scored = sorted(
        (
            (share, other)
            for other in dict.fromkeys(known)
            if (theirs := _stems(other)) and (share := len(wanted & theirs) / len(wanted | theirs)) >= least
        ),
        reverse=True,
    )
    if not scored or (len(scored) > 1 and scored[1][0] == scored[0][0]):
        return None
    return scored[0][1]


def same_words(name: str, other: str) -> bool:
    """Tell whether two names say the same in other words: `fetch_weather_api` and `get_weather`."""
    ours, theirs = _stems(name) - FILLERS, _stems(other) - FILLERS
    rest = sorted(_VERBS.get(word, word) for word in ours - theirs)
    return bool(ours & theirs or rest) and rest == sorted(_VERBS.get(word, word) for word in theirs - ours)


def share_a_word(name: str, other: str) -> bool:
    """Tell whether two names have a word in common."""
    return not _stems(name).isdisjoint(_stems(other))


def _stems(name: str) -> set[str]:
    """Return the words of `name` without a plural's s; enough for names."""
    return {word[:-1] if len(word) > _SHORT and word.endswith("s") else word for word in words(name)}


def _slips(left: Sequence[str], right: Sequence[str]) -> int | None:
    """Count the slips between two names, or return `None` when they are different names."""
    if len(left) != len(right):
        left, right = ["".join(left)], ["".join(right)]
    differing = [(ours, theirs) for ours, theirs in zip(left, right, strict=True) if ours != theirs]
    if len(differing) > _MOST:
        return None
    total = 0
    for ours, theirs in differing:
        count = _word_slips(ours, theirs)
        if count is None:
            return None
        total += count
    return total if total <= _MOST else None


def _word_slips(left: str, right: str) -> int | None:
    short = min(len(left), len(right))
    allowed = _MOST if short >= _LONG else 1
    if abs(len(left) - len(right)) > allowed or short < 2:  # first, for a name may be as long as a model likes
        return None
    # a slip takes at most one letter out and puts one in; counting the letters is much faster than comparing the words
    if len(set(left).symmetric_difference(right)) > 2 * allowed:
        return None
    if re.sub(r"\D", "", left) != re.sub(r"\D", "", right):
        return None
    count = edit_distance(left, right)
    if count > allowed:
        return None
    if count == 1 and (len(left) != len(right) or sorted(left) == sorted(right)):
        return count
    # another letter, or two slips: the beginning has to agree, or it is reactivate for deactivate
    return count if short >= _SHORT and left[0] == right[0] else None


def edit_distance(left: str, right: str) -> int:
    """Count the letters to drop, add, change or swap with their neighbour to make `right` of `left`."""
    before: list[int] = []
    current = list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        earlier, before, current = before, current, [row] + [0] * len(right)
        for column, other in enumerate(right, 1):
            best = min(before[column] + 1, current[column - 1] + 1, before[column - 1] + (letter != other))
            swapped = row > 1 and column > 1 and letter == right[column - 2] and left[row - 2] == other
            current[column] = min(best, earlier[column - 2] + 1) if swapped else best
    return current[-1]
