"""What a search found for a goal and why, and what it left out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planner.catalog.postings import FLOOR, FLOOR_FROM, WEAK, Mask, Postings, Topic
from planner.catalog.search import ALL_ACTIONS, ActionSearch, SearchHit
from planner.catalog.spec import ActionSpec
from planner.catalog.words import spelled_parts
from planner.context import RequestIdentity

LEFT_OUT = 10
"""How far behind the last hit is looked for what was left out."""
MOST_WORDS = 50
"""Of one action, and of those that no action has; a goal may be a book."""

Clause = Sequence[tuple[str, str]]
"""Words of a goal: what is compared, and as they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedWord:
    """A word of the goal that an action has."""

    text: str
    """As the goal writes it."""
    clause: int
    """In which of the clauses, from 1."""
    weight: float
    """What it adds to the action's score for that clause: BM25, so a rare word adds more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAction:
    """An action that a search found."""

    rank: int
    action: str
    """Its reference."""
    name: str
    score: float
    """Higher is better; of the whole goal and of its clauses together, so it is no sum of the weights."""
    reason: str
    """`words`, `named`, or the input that it produces, such as `produces flight for book`."""
    words: tuple[MatchedWord, ...]
    """The heaviest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutAction:
    """An action that has words of the goal, or that the goal names, and that the search did not return."""

    action: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A search, explained."""

    goal: str
    actions: int
    """In the catalog."""
    allowed: int
    """Of them, those that the groups and the roles leave."""
    sends_all: bool
    """Whether a draft would offer all that is allowed, without a search."""
    k: int
    clauses: tuple[str, ...]
    """The parts of the goal that are searched for on their own, by the words of theirs that count."""
    rule: str
    """What let the goal pass (`named`, or a `Rule`), or why it did not (`below`, `no_words`)."""
    verdict: str
    """The same as a sentence."""
    best: float
    """What the best action scores, in units of log(1 + actions)."""
    floor: float
    """What it has to score for the goal to pass by that alone."""
    found: tuple[FoundAction, ...]
    left_out: tuple[LeftOutAction, ...]
    unknown_words: tuple[str, ...]
    """Words of the goal that no action of the catalog has."""

    @property
    def refused(self) -> bool:
        """Whether nothing here is about the goal."""
        return not self.found

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "refused": self.refused}


def explain(
    search: ActionSearch,
    goal: str,
    k: int,
    *,
    flow_ids: Sequence[str] | None = None,
    identity: RequestIdentity | None = None,
) -> Explanation:
    """Search as `ActionSearch.find` does, and tell what it weighed; actions that are left out are named as well."""
    parts = spelled_parts(goal)
    clauses = [clause for sentence in parts for clause in sentence]
    hits = search.find(goal, k, flow_ids=flow_ids, identity=identity)
    index, mask, topic = search.index, None, Topic("no_words", 0.0)
    if index is not None:
        mask = search.allowed(index, flow_ids, identity)
        topic = index.fused(_tokens(parts), mask)[1]
    allowed = len(search.specs) if mask is None else int(mask.sum())
    named = any(hit.reason == "named" for hit in hits)
    words = _matched(search, index, clauses, hits)
    return Explanation(
        goal=goal,
        actions=len(search.specs),
        allowed=allowed,
        sends_all=allowed <= ALL_ACTIONS,
        k=k,
        clauses=tuple(" ".join(text for _, text in clause) for clause in clauses),
        rule="named" if named else topic.rule,
        verdict=_verdict(topic, hits, named=named),
        best=topic.best,
        floor=FLOOR,
        found=tuple(
            FoundAction(
                rank=rank,
                action=hit.action.ref,
                name=hit.action.name,
                score=hit.score,
                reason=hit.reason,
                words=tuple(sorted(words[rank - 1], key=lambda word: -word.weight)[:MOST_WORDS]),
            )
            for rank, hit in enumerate(hits, 1)
        ),
        left_out=tuple(_left_out(search, goal, k, hits, mask, flow_ids, identity)),
        unknown_words=tuple(_unknown(index, clauses)),
    )


def _tokens(parts: Sequence[Sequence[Clause]]) -> list[list[list[str]]]:
    return [[[token for token, _ in clause] for clause in sentence] for sentence in parts]


def _matched(
    search: ActionSearch, index: Postings | None, clauses: Sequence[Clause], hits: Sequence[SearchHit]
) -> list[list[MatchedWord]]:
    """Return the words of the goal that each hit has; one that a clause repeats counts each time."""
    found: list[list[MatchedWord]] = [[] for _ in hits]
    if index is None or not hits:
        return found
    place = {search.position(hit.action): at for at, hit in enumerate(hits)}
    wanted = index.mask(place)
    for number, clause in enumerate(clauses, 1):
        texts: dict[str, list[str]] = {}
        for token, text in clause:
            texts.setdefault(token, []).append(text)
        for token, written in texts.items():
            rows, weights = index.having(token)
            chosen = wanted[rows]
            for row, weight in zip(rows[chosen].tolist(), weights[chosen].tolist(), strict=True):
                word = MatchedWord(text=written[0], clause=number, weight=weight * len(written))
                found[place[row]].append(word)
    return found


def _unknown(index: Postings | None, clauses: Sequence[Clause]) -> list[str]:
    known = {} if index is None else index.vocabulary
    words = {token: text for clause in clauses for token, text in clause if token not in known}
    return list(words.values())[:MOST_WORDS]


def _verdict(topic: Topic, hits: Sequence[SearchHit], *, named: bool) -> str:
    score = f"the best action has {topic.best:.2f}; the floor is {FLOOR:g}, or {WEAK:g} with two words or one of a name"
    if named:
        return f"passed: the goal names {', '.join(hit.action.name for hit in hits if hit.reason == 'named')}"
    match topic.rule:
        case "floor":
            return f"passed: {score}"
        case "name":
            return f"passed below the floor: the best has a word of the goal in its name ({score})"
        case "words":
            return f"passed below the floor: the best has two words of the goal or more ({score})"
        case "small":
            return f"passed: of fewer than {FLOOR_FROM} actions, one that has any word of the goal is enough"
        case "below":
            return f"refused: the best has too little of the goal ({score})"
        case "no_words":
            return "refused: no action that may be used has a word of the goal"


def _left_out(
    search: ActionSearch,
    goal: str,
    k: int,
    hits: Sequence[SearchHit],
    mask: Mask | None,
    flow_ids: Sequence[str] | None,
    identity: RequestIdentity | None,
) -> Iterator[LeftOutAction]:
    """Yield what would have been found among all actions and a few more hits."""
    found = {hit.action.ref for hit in hits}
    for at in _likely(search, goal, k):
        spec = search.specs[at]
        if spec.ref in found:
            continue
        reason = ""
        if mask is not None and not mask[at]:
            reason = _barred(spec, flow_ids, identity)
        elif hits:  # of a goal that is refused, what is allowed was refused with it
            reason = f"not among the first {k}"
        if reason:
            yield LeftOutAction(action=spec.ref, name=spec.name, reason=reason)


def _likely(search: ActionSearch, goal: str, k: int) -> Iterable[int]:
    if search.index is None:
        return []
    scores, _ = search.index.fused(_tokens(spelled_parts(goal)))
    by_words = [] if scores is None else search.index.top(scores, max(k, 0) + LEFT_OUT)
    return dict.fromkeys([*search.named(goal), *by_words])


def _barred(spec: ActionSpec, flow_ids: Sequence[str] | None, identity: RequestIdentity | None) -> str:
    if flow_ids is not None and spec.flow_id is not None and spec.flow_id not in flow_ids:
        return f"belongs to the flow {spec.flow_id}"
    if identity is not None and not spec.allows(identity):
        return f"needs one of the roles: {', '.join(sorted(spec.policy.roles))}"
    return "may not be used"
