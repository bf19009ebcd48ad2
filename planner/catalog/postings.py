"""Word weights of many documents, and the scores of a goal against all of them at once."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import bm25s  # pyright: ignore[reportMissingTypeStubs] -- it is untyped
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLOOR = 0.65
"""What the best action has to score, in units of log(1 + actions), for a goal to be on topic by that alone."""
WEAK = 0.35
"""What is enough when it shares two words with the goal, or one that is in its name: a goal may be short;"""
COVERED = 0.6
"""and with less, when that is this part of all that the catalog knows of the goal, by rarity.

Set on Seal-Tools dev (4,076 actions) so that goals pass, short ones too, since a refusal ends a draft and an action too
many costs a line of a prompt: of 700 goals none is refused, and of 1,538 clauses of two to five words 2.1 %. So almost
half of the remarks that no action serves pass as well. `benchmarks/retrieval.py` measures all of it.
"""
FLOOR_FROM = 25
"""In catalogs smaller than this the rarity of words says little, so any word in common is enough."""

Rule = Literal["floor", "name", "words", "small", "below", "no_words"]


@dataclass(frozen=True, slots=True)
class Topic:
    """Whether a goal is about anything here."""

    rule: Rule
    """What let it pass (`floor`, `name`, `words`, or `small`: too few actions to judge), or why it did not."""
    best: float
    """What the best action has for the goal or for a clause of it, in units of log(1 + actions), as `FLOOR` is."""

    @property
    def passed(self) -> bool:
        """Whether there is something to find."""
        return self.rule not in ("below", "no_words")


class Postings:
    """The weights of `bm25s`, added up here: its own retrieval takes longer to set up than to add."""

    def __init__(self, names: Sequence[Sequence[str]], descriptions: Sequence[Sequence[str]]) -> None:
        """Index documents by the words of their names, which count twice, and of their descriptions."""
        index: Any = bm25s.BM25()
        documents = [[*name, *name, *description] for name, description in zip(names, descriptions, strict=True)]
        index.index(documents, show_progress=False)
        self.names = names
        self.size = len(names)
        self.vocabulary: dict[str, int] = index.vocab_dict
        self.weights: NDArray[np.float32] = index.scores["data"]
        self.rows: NDArray[np.int32] = index.scores["indices"]
        self.starts: list[int] = index.scores["indptr"].tolist()

    def mask(self, documents: Iterable[int]) -> Mask:
        """Mark the documents that may be found."""
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[list(documents)] = True
        return mask

    def top(self, scores: Scores, k: int) -> list[int]:
        """Return the `k` best documents that score at all, best first, the earlier one where two are equal."""
        found = np.argpartition(scores, -k)[-k:] if k < self.size else np.arange(self.size)
        ordered = found[np.lexsort((found, -scores[found]))]
        return [int(at) for at in ordered if scores[at] > 0]

    def having(self, word: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the documents that have a word, each once, and what it adds to the score of each."""
        at = self.vocabulary.get(word)
        span = slice(0, 0) if at is None else slice(self.starts[at], self.starts[at + 1])
        return self.rows[span], self.weights[span]

    def fused(
        self, parts: Sequence[Sequence[Sequence[str]]], allowed: Mask | None = None
    ) -> tuple[Scores | None, Topic]:
        """Score every action for a goal: sentences of clauses of words. No scores when it is off topic."""
        lists: list[NDArray[np.float64]] = []
        whole = np.zeros(self.size)
        for sentence in parts:
            clauses = [found for words in sentence if (found := self._add(words)) is not None]
            if not clauses:
                continue
            total = sum(clauses[1:], start=clauses[0])
            lists += [*clauses, total] if len(clauses) > 1 else [total]
            whole = whole + total
        if allowed is not None:
            lists = [scores * allowed for scores in lists]
            whole *= allowed
        best = max((float(scores.max()) for scores in lists), default=0.0)
        topic = self._topic(parts, whole, max(best, float(whole.max())))
        if not topic.passed:
            return None, topic
        fused = _sharpened(whole, float(whole.max())) if len(lists) > 1 else whole / whole.max()
        for scores in lists if len(lists) > 1 else ():
            top = float(scores.max())
            if top > 0:
                fused += _sharpened(scores, top) * (top / best)
        return fused, topic

    def _add(self, words: Sequence[str]) -> Scores | None:
        ids = [found for word in words if (found := self.vocabulary.get(word)) is not None]
        if not ids:
            return None
        spans = [slice(self.starts[at], self.starts[at + 1]) for at in ids]
        rows = np.concatenate([self.rows[span] for span in spans])
        weights = np.concatenate([self.weights[span] for span in spans])
        return np.bincount(rows, weights, self.size).astype(np.float64, copy=False)

    def _topic(self, parts: Sequence[Sequence[Sequence[str]]], whole: Scores, best: float) -> Topic:
        unit = math.log1p(self.size)
        if best <= 0:
            return Topic("no_words", 0.0)
        if self.size < FLOOR_FROM:
            return Topic("small", best / unit)
        if best >= FLOOR * unit:
            return Topic("floor", best / unit)
        return Topic(self._weak(parts, int(whole.argmax()), scored=best >= WEAK * unit), best / unit)

    def _weak(self, parts: Sequence[Sequence[Sequence[str]]], top: int, *, scored: bool) -> Rule:
        """Judge a goal by the words that its best action `top` shares with it."""
        shared: list[str] = []
        known = had = 0.0
        for word in {word for sentence in parts for clause in sentence for word in clause}:
            rows, _ = self.having(word)
            rarity = math.log1p((self.size - len(rows) + 0.5) / (len(rows) + 0.5)) if len(rows) else 0.0
            known += rarity
            if (rows == top).any():
                had += rarity
                shared.append(word)
        if not scored and had < COVERED * known:
            return "below"
        if any(word in self.names[top] for word in shared):
            return "name"
        return "words" if len(shared) > 1 else "below"


def _sharpened(scores: Scores, top: float) -> Scores:
    """Return the eighth power of each score's part of the best: who is best for a clause counts, the rest little.

    On Seal-Tools this finds all actions of a goal more often than adding reciprocal ranks (.96 against .92 in the first
    20), and needs no sorting for each clause.
    """
    shares = scores * (1 / top)
    for _ in range(3):
        shares *= shares
    return shares
