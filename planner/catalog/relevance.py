"""How much texts are about a question, and how long they are for a model: for what is chosen to stand in a prompt."""

from collections.abc import Sequence
from typing import Any

from planner.catalog.words import split_name, tokens

BYTES_PER_TOKEN = 4
"""The usual estimate; of scripts beyond ASCII, a character has two to four bytes, and a token about as many."""


def relevance(query: str, texts: Sequence[str]) -> list[float]:
    """Return a score for each of `texts`, in their order: 0.0 where it shares no word with `query`.

    The scores (BM25) compare the texts of one call with each other, and nothing else.
    """
    import bm25s  # pyright: ignore[reportMissingTypeStubs]  # noqa: PLC0415 -- untyped; 50 ms that few need at the start

    wanted = list(dict.fromkeys(_words(query)))
    documents = [_words(text) for text in texts]
    filled = [at for at, words in enumerate(documents) if words]
    scores = [0.0] * len(documents)
    index: Any = bm25s.BM25()
    if not wanted or not filled:  # bm25s cannot count what has no words
        return scores
    index.index([documents[at] for at in filled], show_progress=False)
    for at, score in zip(filled, index.get_scores(wanted).tolist(), strict=True):
        scores[at] = float(score)
    return scores


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of `text`, at least 1 where there is any."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def _words(text: str) -> list[str]:
    return tokens(split_name(text))
