"""Parts of a conversation that fit a budget of tokens: pure functions over messages as storage gives them."""

from collections.abc import Mapping, Sequence
from typing import Any

from planner.catalog.relevance import BYTES_PER_TOKEN, estimate_tokens, relevance
from planner.dialogue.state import Artifact
from planner.drafting.language_model import Message, encodable

SpokenMessage = Mapping[str, Any]
"""A message in the seed's shape: `role`, `content`, `metadata`, `created_at`."""

EXCERPT = 500
"""Characters of a message that a snippet shows."""
COMPARED = 2_000
"""Characters of a message that are compared with a question."""
TURN = 4
"""Messages that belong together at most: a question, and the answers to it."""
NEWNESS = 0.5
"""What the newest artifact scores by that alone, where the one that fits the words best scores 1."""


def cut(text: str, tokens: int) -> str:
    """Return as much of the beginning of `text` as has at most this many tokens, in what can be sent."""
    text = encodable(text)
    if estimate_tokens(text) <= tokens:
        return text
    return text.encode()[: max(0, tokens * BYTES_PER_TOKEN - 4)].decode(errors="ignore") + " …"


def shortened(text: str, chars: int) -> str:
    """Return `text` on one line, of about this many characters."""
    line = " ".join(text[: 2 * chars].split())
    return line if len(line) <= chars and len(text) <= 2 * chars else f"{line[:chars]} …"


def line_of(message: SpokenMessage, content: str | None = None) -> str:
    """Return `role: content`."""
    return f"{str(message['role'])[:20]}: {_content(message) if content is None else content}"


def newest_that_fit(messages: Sequence[SpokenMessage], tokens: int) -> int:
    """Return how many of the newest messages have this many tokens together; the newest alone always counts."""
    count = 0
    for message in reversed(messages):
        tokens -= estimate_tokens(line_of(message))
        if tokens < 0 and count:
            break
        count += 1
    return count


def window_of(messages: Sequence[SpokenMessage], tokens: int) -> list[Message]:
    """Return the newest messages of `user` and `assistant` within `tokens`, for a model."""
    chosen = messages[len(messages) - newest_that_fit(messages, tokens) :]
    return [Message(message["role"], cut(_content(message), tokens)) for message in chosen]


def relevant_lines(messages: Sequence[SpokenMessage], text: str, tokens: int) -> list[str]:
    """Return the messages that are about `text`, each with those it belongs to, in order of time, within `tokens`."""
    turns = _exchanges(messages)
    scores = relevance(text[:COMPARED], [" ".join(_content(one)[:COMPARED] for one in turn) for turn in turns])
    ranked = sorted((at for at, score in enumerate(scores) if score > 0), key=lambda at: (-scores[at], -at))
    chosen: dict[int, list[str]] = {}
    for at in ranked:
        lines = [line_of(one, shortened(_content(one), EXCERPT)) for one in turns[at]]
        if not chosen:  # the best is shown in any case, if only its beginning
            lines = _within(lines, tokens)
        needed = sum(map(estimate_tokens, lines))
        if lines and needed <= tokens:
            chosen[at] = lines
            tokens -= needed
    return [line for at in sorted(chosen) for line in chosen[at]]


def relevant_artifacts(artifacts: Sequence[Artifact], text: str, tokens: int) -> list[str]:
    """Return what runs gave, by how much it is about `text` and how new it is, in order of time, within `tokens`."""
    scores = relevance(text[:COMPARED], [artifact.text for artifact in artifacts])
    best = max(scores, default=0.0) or 1.0
    newness = [NEWNESS * (at + 1) / len(artifacts) for at in range(len(artifacts))]
    ranked = sorted(range(len(artifacts)), key=lambda at: -(scores[at] / best + newness[at]))
    chosen: list[int] = []
    for at in ranked:
        needed = estimate_tokens(artifacts[at].text)
        if needed <= tokens:
            chosen.append(at)
            tokens -= needed
    return [artifacts[at].text for at in sorted(chosen)]


def _exchanges(messages: Sequence[SpokenMessage]) -> list[list[SpokenMessage]]:
    """Put each question with what was answered: alone, one says too little."""
    found: list[list[SpokenMessage]] = []
    for message in messages:
        if found and message["role"] != "user" and len(found[-1]) < TURN:
            found[-1].append(message)
        else:
            found.append([message])
    return found


def _within(lines: Sequence[str], tokens: int) -> list[str]:
    """Cut lines that are longer together, each to the same length; `[]` when nothing of them would be left."""
    if sum(map(estimate_tokens, lines)) <= tokens:
        return list(lines)
    room = tokens // len(lines)
    return [cut(line, room) for line in lines] if room >= 10 else []


def _content(message: SpokenMessage) -> str:
    return str(message["content"])
