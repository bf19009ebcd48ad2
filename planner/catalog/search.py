"""Finding the actions that a goal may need: BM25 over the words of every action, closed under producers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.catalog.producers import ProducerIndex
from planner.catalog.spec import ActionSpec
from planner.catalog.words import goal_parts, split_name, tokens
from planner.context import RequestIdentity

if TYPE_CHECKING:
    from planner.catalog.postings import Mask, Postings, Scores

ALL_ACTIONS = 50
"""A draft that may use no more than this is offered all of them, without a search: the prompt stays the same for every
goal, and a provider's cache keeps it (planning.md 4.3)."""
RETRIEVED = 25
"""Of more, a draft is offered so many by the words of its goal."""
MAX_PRODUCERS = 10
"""Actions that are added behind the hits because they produce what these require."""
PRODUCERS_PER_INPUT = 2


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One action that a goal may need."""

    action: ActionSpec
    score: float
    """Higher is better; comparable within one search only."""
    reason: str
    """`words`, `named`, or the input that it produces, such as `produces flight for book`."""


class ActionSearch:
    """The words of every action of one catalog version."""

    def __init__(self, specs: Sequence[ActionSpec], producers: ProducerIndex) -> None:
        self.specs = specs
        self.producers = producers
        self.index = _index(specs) if specs else None
        self._names = {spec.name.lower(): at for at, spec in enumerate(specs)}
        self._positions = {key: at for at, spec in enumerate(specs) for key in (spec.name, spec.ref)}
        self._guarded = [at for at, spec in enumerate(specs) if spec.policy.roles]
        self._groups: dict[str | None, list[int]] = {}
        for at, spec in enumerate(specs):
            self._groups.setdefault(spec.flow_id, []).append(at)
        self._feeds: dict[int, list[tuple[str, list[int]]]] = {}

    def find(
        self,
        goal: str,
        k: int,
        *,
        flow_ids: Sequence[str] | None = None,
        identity: RequestIdentity | None = None,
        exclude: Sequence[str] = (),
    ) -> list[SearchHit]:
        """Return up to `k` actions by words, best first, then up to ten producers of what they require.

        Actions that the goal names come first. An empty list means that nothing here is about the goal.

        Args:
            goal: In words.
            k: How many, without the producers.
            flow_ids: Only these groups and what belongs to none; `None` for all.
            identity: Whose roles decide what is found; `None` finds what anybody may call.
            exclude: Names and references of what is not to be found.
        """
        if self.index is None or k < 1:
            return []
        allowed = self.allowed(self.index, flow_ids, identity, exclude)
        named = [at for at in self.named(goal) if allowed is None or allowed[at]]
        scores, _ = self.index.fused(goal_parts(goal), allowed)
        if scores is None and not named:
            return []
        best = named[:k]
        if scores is not None:
            best += [at for at in self.index.top(scores, k) if at not in named][: k - len(best)]
        hits = [
            SearchHit(self.specs[at], 0.0 if scores is None else float(scores[at]), "named" if at in named else "words")
            for at in best
        ]
        return hits + self._producers_of(best, scores, allowed)

    def allowed(
        self,
        index: "Postings",
        flow_ids: Sequence[str] | None,
        identity: RequestIdentity | None,
        exclude: Sequence[str] = (),
    ) -> "Mask | None":
        """Mark the actions that may be found; `None` when all of them may."""
        barred = [at for name in exclude if (at := self._positions.get(name)) is not None]
        if identity is not None:
            barred += [at for at in self._guarded if not self.specs[at].allows(identity)]
        if flow_ids is None and not barred:
            return None
        groups = self._groups if flow_ids is None else (None, *flow_ids)
        mask = index.mask(at for group in groups for at in self._groups.get(group, ()))
        mask[barred] = False
        return mask

    def position(self, spec: ActionSpec) -> int:
        """Return where an action of this catalog version stands in the index."""
        return self._positions[spec.ref]

    def named(self, goal: str) -> list[int]:
        """Return the actions that a goal names literally; a plain word is a name only where it stands in quotes."""
        found: dict[int, None] = {}
        for match in _NAME.finditer(goal):
            word = match.group().rstrip(".:-")
            at = self._names.get(word.lower())
            quoted = goal[match.start() - 1 : match.start()] in _QUOTES
            if at is not None and (quoted or not word.isalpha() or not (word.islower() or word.istitle())):
                found[at] = None
        return list(found)

    def _producers_of(self, best: Sequence[int], scores: "Scores | None", allowed: "Mask | None") -> list[SearchHit]:
        taken = set(best)
        added: list[SearchHit] = []
        for at in best:
            for name, feeding in self._feeding(at):
                offered = [one for one in feeding if allowed is None or allowed[one]]
                if not taken.isdisjoint(offered):
                    continue  # one is there already
                if scores is not None:
                    offered = sorted(offered, key=lambda one: -scores[one])
                for one in offered[:PRODUCERS_PER_INPUT]:
                    score = 0.0 if scores is None else float(scores[one])
                    added.append(SearchHit(self.specs[one], score, f"produces {name} for {self.specs[at].name}"))
                    taken.add(one)
                    if len(added) == MAX_PRODUCERS:
                        return added
        return added

    def _feeding(self, at: int) -> list[tuple[str, list[int]]]:
        """Return the required inputs of an action with the actions that produce each, looked up once."""
        if at not in self._feeds:
            found: list[tuple[str, list[int]]] = []
            for need in self.producers.needs(self.specs[at]):
                feeding = dict.fromkeys(self._positions[producer.action.ref] for producer in need.producers)
                feeding.pop(at, None)
                if feeding:
                    found.append((need.slot.name, list(feeding)))
            self._feeds[at] = found
        return self._feeds[at]


def _index(specs: Sequence[ActionSpec]) -> "Postings":
    from planner.catalog.postings import Postings  # noqa: PLC0415 -- 0.15 s to import, and many catalogs are never searched

    return Postings([tokens(split_name(spec.name)) for spec in specs], [_description(spec) for spec in specs])


_NAME = re.compile(r"[\w.:-]+")
_QUOTES = frozenset("`'\"")


def _description(spec: ActionSpec) -> list[str]:
    """Return the words of an action beside its name. Those of its inputs and outputs help (measured)."""
    words = tokens(spec.description)
    for text in (*spec.tags, spec.flow_id or ""):
        words += tokens(split_name(text))
    for slot in (*spec.inputs, *spec.outputs):
        words += tokens(split_name(slot.name)) + tokens(slot.description or "")
    return words
