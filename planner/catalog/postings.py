"""Word weights of many documents, and the scores of a goal against all of them at once."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import bm25s  # pyright: ignore[reportMissingTypeStubs] -- it is untyped
import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Mask = NDArray[np.bool_]

FLOOR = 0.65
"""What the best action has to score, in units of log(1 + actions), for a goal to be on topic by that alone.

With the two rules below, which are for short goals, none of 700 goals of Seal-Tools dev (4,076 actions) is refused, and
70 % of remarks that no action serves are; `benchmarks/retrieval.py` measures both.
"""
RARE = 0.02
"""A goal is on topic as well when the name of the best has a word of it that at most this part of the actions have,"""
COVERED = 0.8
"""or when the best has two of its words, a rare one among them, and this part of all that the catalog knows."""
FLOOR_FROM = 25
"""In catalogs smaller than this the rarity of words says little, so any word in common is enough."""


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

    def fused(self, parts: Sequence[Sequence[Sequence[str]]], allowed: Mask | None) -> Scores | None:
        """Score every action for a goal: sentences of clauses of words. `None` when it is off topic."""
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
        if best <= 0 or not self._on_topic(parts, whole, max(best, float(whole.max()))):
            return None
        fused = _sharpened(whole, float(whole.max())) if len(lists) > 1 else whole / whole.max()
        for scores in lists if len(lists) > 1 else ():
            top = float(scores.max())
            if top > 0:
                fused += _sharpened(scores, top) * (top / best)
        return fused

    def _add(self, words: Sequence[str]) -> Scores | None:
        ids = [found for word in words if (found := self.vocabulary.get(word)) is not None]
        if not ids:
            return None
        spans = [slice(self.starts[at], self.starts[at + 1]) for at in ids]
        rows = np.concatenate([self.rows[span] for span in spans])
        weights = np.concatenate([self.weights[span] for span in spans])
        return np.bincount(rows, weights, self.size).astype(np.float64, copy=False)

    def _on_topic(self, parts: Sequence[Sequence[Sequence[str]]], whole: Scores, best: float) -> bool:
        if self.size < FLOOR_FROM or best >= FLOOR * math.log1p(self.size):
            return True
        top = int(whole.argmax())
        had: list[float] = []
        total = 0.0
        rare = False
        for word in {word for sentence in parts for clause in sentence for word in clause}:
            at = self.vocabulary.get(word)
            if at is None:
                continue  # a name or a number, most likely: what the action is to be called with
            rows = self.rows[self.starts[at] : self.starts[at + 1]]
            rarity = math.log1p((self.size - len(rows) + 0.5) / (len(rows) + 0.5))
            total += rarity
            if (rows == top).any():
                had.append(rarity)
                if len(rows) <= max(3, RARE * self.size):
                    rare = True
                    if word in self.names[top]:
                        return True
        return rare and len(had) > 1 and sum(had) >= COVERED * total


def _sharpened(scores: Scores, top: float) -> Scores:
    """Return the eighth power of each score's part of the best: who is best for a clause counts, the rest little.

    On Seal-Tools this finds all actions of a goal more often than adding reciprocal ranks (.96 against .92 in the first
    20), and needs no sorting for each clause.
    """
    shares = scores * (1 / top)
    for _ in range(3):
        shares *= shares
    return shares
