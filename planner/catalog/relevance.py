"""How much texts are about a question, and how long they are for a model: for what is chosen to stand in a prompt."""

from collections.abc import Sequence
from typing import Any

from planner.catalog.words import split_name, tokens

BYTES_PER_TOKEN = 4
"""The usual estimate; of scripts beyond ASCII, a character has two to four bytes, and a token about as many."""


class Relevance:
    """The words of some texts, to be compared with any number of questions; any thread may ask."""

    def __init__(self, texts: Sequence[str]) -> None:
        documents = [_words(text) for text in texts]
        self._count = len(documents)
        self._filled = {at: words for at, words in enumerate(documents) if words}  # bm25s counts none without words
        self._index: Any = None

    def scores(self, query: str) -> list[float]:
        """Return a score for each text, in their order: 0.0 where it shares no word with `query`.

        The scores (BM25) compare these texts with each other, and nothing else.
        """
        scores = [0.0] * self._count
        wanted = list(dict.fromkeys(_words(query))) if self._filled else []
        if wanted:
            if self._index is None:  # where two threads come here first, either index will do
                self._index = _index(list(self._filled.values()))
            for at, score in zip(self._filled, self._index.get_scores(wanted).tolist(), strict=True):
                scores[at] = float(score)
        return scores


def relevance(query: str, texts: Sequence[str]) -> list[float]:
    """Return the scores of `texts` for one question; nothing is kept of them."""
    return Relevance(texts).scores(query)


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of `text`, at least 1 where there is any."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def _words(text: str) -> list[str]:
    return tokens(split_name(text))


def _index(documents: Sequence[Sequence[str]]) -> Any:
    import bm25s  # pyright: ignore[reportMissingTypeStubs]  # noqa: PLC0415 -- untyped; 50 ms that few need at the start

    index: Any = bm25s.BM25()
    index.index(documents, show_progress=False)
    return index
