"""Making a long conversation short for the model: the older part is summarised, or no longer shown.

Nothing is deleted: a state notes up to which message its summary goes, and all of them stay where they are stored.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from planner.catalog.relevance import estimate_tokens
from planner.dialogue.excerpts import SpokenMessage, cut, line_of, newest_that_fit
from planner.dialogue.state import SessionState
from planner.drafting import Completion, LanguageModel, Message, Usage
from planner.drafting.language_model import completion_of
from planner.drafting.prompts import DATA_RULE, data
from planner.errors import ModelError, ModelRefused, ModelUnavailable

MAX_CALLS = 8
"""Calls of the model in one turn; what is left of a very long backlog is summarised in later turns."""
READ = 200
"""Messages that are read first; most conversations are summarised long before there are more."""
KEPT = 0.5
"""Part of the window that is left when it was full: with all of it left, each turn would summarise again."""

History = Callable[[int], Awaitable[Sequence[SpokenMessage]]]
"""Gives the newest so many messages, oldest of them first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPolicy:
    """How much of a session a model is shown; the numbers are tokens, as `estimate_tokens` counts them."""

    compact: Literal["truncate", "summarise", "both"] = "both"
    """What becomes of messages that the window has no room for: they are no longer shown; the model summarises them;
    or it does and, where it fails or there is none, they are no longer shown."""
    window_tokens: int = 3_000
    """Newest messages, as they were said."""
    memory_tokens: int = 1_000
    """Older messages that are about the question at hand, with the summary."""
    artifact_tokens: int = 600
    """What earlier runs gave."""
    summary_tokens: int = 500

    def __post_init__(self) -> None:
        if self.compact not in {"truncate", "summarise", "both"}:
            raise ValueError(f'compact is "truncate", "summarise" or "both", not {self.compact!r}')
        for name in ("window_tokens", "memory_tokens", "artifact_tokens", "summary_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, and has to be 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """What came of making a conversation short."""

    summarised: int = 0
    """Messages that went into the summary now."""
    left_out: int = 0
    """Messages that are no longer shown, and stand in no summary."""
    usage: Usage = field(default_factory=Usage)
    note: str = ""
    """What went wrong, in a sentence; the turn goes on."""


async def compact(
    state: SessionState, history: History, llm: LanguageModel | None, instruction: str, policy: MemoryPolicy
) -> Compaction:
    """Let the summary of `state` take the place of its older messages, when there are too many for the window."""
    if policy.compact == "summarise" and llm is None:
        return Compaction(note="there is no model to summarise the conversation with")
    messages = await _waiting(state, history)
    if sum(estimate_tokens(line_of(message)) for message in messages) <= policy.window_tokens:
        return Compaction()
    keep = newest_that_fit(messages, int(policy.window_tokens * KEPT))
    older = messages[: len(messages) - keep]
    if not older:
        return Compaction()
    if policy.compact == "truncate" or llm is None:
        state.summarised_until = str(older[-1]["created_at"])
        return Compaction(left_out=len(older))
    found = await _summarise(state, older, llm, instruction, policy)
    if found.note and policy.compact == "both":
        state.summarised_until = str(older[-1]["created_at"])
        return Compaction(
            summarised=found.summarised, left_out=len(older) - found.summarised, usage=found.usage, note=found.note
        )
    return found


def unsummarised(state: SessionState, messages: Sequence[SpokenMessage]) -> list[SpokenMessage]:
    """Return those that the summary does not stand for; the newest always.

    The last one that it stands for is found by its place: times say nothing when a clock was set back.
    """
    after = 0
    for at, message in enumerate(messages, start=1):
        if state.summarised_until and message["created_at"] == state.summarised_until:
            after = at
    return list(messages[min(after, max(0, len(messages) - 1)) :])


async def _waiting(state: SessionState, history: History) -> list[SpokenMessage]:
    """Read back to where the summary ends; mostly one read."""
    limit = READ
    while True:
        messages = await history(limit)
        found = unsummarised(state, messages)
        if len(messages) < limit or len(found) < len(messages):
            return found
        limit *= 8


def summary_request(
    summary: str, messages: Sequence[SpokenMessage], instruction: str, policy: MemoryPolicy
) -> list[Message]:
    """Return what a model is asked: whatever was said in the conversation is data, and so is its summary."""
    lines = [json.dumps(cut(line_of(one), policy.window_tokens), ensure_ascii=False) for one in messages]
    before = [json.dumps(summary, ensure_ascii=False)] if summary else []
    words = max(20, policy.summary_tokens * 3 // 4)
    asked = f"Write the summary, in at most {words} words."
    parts = [f"# Summary so far\n{data('summary', before)}", f"# Messages\n{data('messages', lines)}", asked]
    return [Message("system", f"{instruction.strip()}\n\n{DATA_RULE}"), Message("user", "\n\n".join(parts))]


async def _summarise(
    state: SessionState, older: Sequence[SpokenMessage], llm: LanguageModel, instruction: str, policy: MemoryPolicy
) -> Compaction:
    done, usage = 0, Usage()
    for part in _parts(older, policy.window_tokens)[:MAX_CALLS]:
        try:
            answer = await _answer(llm, summary_request(state.summary, part, instruction, policy))
        except ModelError as error:
            written = completion_of(error)
            usage += written.usage if written else Usage()
            return Compaction(summarised=done, usage=usage, note=f"the conversation was not summarised: {error}")
        except Exception as error:  # noqa: BLE001 - a model of the caller's own may raise anything, and the turn goes on
            told = f"the conversation was not summarised: {type(error).__name__}: {error}"
            return Compaction(summarised=done, usage=usage, note=told)
        usage += answer.usage
        state.summary = cut(answer.text.strip(), policy.summary_tokens)
        state.summarised_until = str(part[-1]["created_at"])
        done += len(part)
    return Compaction(summarised=done, usage=usage)


async def _answer(llm: LanguageModel, messages: Sequence[Message]) -> Completion:
    answer = await llm.complete(messages)
    if answer.finish_reason == "refusal":
        raise ModelRefused("the model declined", answer)
    if not answer.text.strip():
        raise ModelUnavailable("the model answered with nothing", answer)
    return answer


def _parts(messages: Sequence[SpokenMessage], tokens: int) -> list[list[SpokenMessage]]:
    """Split messages so that each part has at most this many tokens; a longer message is a part, and is cut."""
    parts: list[list[SpokenMessage]] = []
    room = 0
    for message in messages:
        needed = estimate_tokens(line_of(message))
        if not parts or needed > room:
            parts.append([])
            room = tokens
        parts[-1].append(message)
        room -= needed
    return parts
