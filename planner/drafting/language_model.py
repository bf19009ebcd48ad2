"""What a language model is to the planner: messages in, one completion out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from planner.errors import ModelError

Role = Literal["system", "user", "assistant"]

PERMANENT: Final = "permanent"
"""Behind the message of a `ModelError`: asking again cannot help, such as with a key that is not accepted."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation with a model."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and calls; usages add up."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt tokens, those that the provider had seen before."""
    completion_tokens: int = 0
    calls: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            calls=self.calls + other.calls,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The JSON Schema that an answer has to follow, with the name that providers ask for."""

    name: str
    schema: dict[str, Any]
    strict: bool = True
    """Whether it keeps to the subset that providers enforce token by token (planning.md section 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's answer."""

    text: str
    parsed: Any = None
    """The answer as data, when the model gave it as such; else it has to be read from `text`."""
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = "stop"
    """`stop`, `length` or `refusal`."""


class LanguageModel(Protocol):
    """A language model behind any provider.

    Many calls may be under way at once; each is independent and nothing is remembered between them.
    """

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Completion:
        """Answer `messages`, following `schema` where the provider can enforce it.

        Raises:
            ModelError: there is no usable answer, after the provider's own retries; with `PERMANENT` as a further
                argument, there will be none however often it is asked.
        """
        ...


def completion_of(error: ModelError) -> Completion | None:
    """Return what a model had written before it failed, and what that used: the second argument of the error."""
    return next((extra for extra in error.args[1:] if isinstance(extra, Completion)), None)


def is_permanent(error: ModelError) -> bool:
    """Tell whether a model said that asking it again cannot help."""
    return PERMANENT in error.args[1:]


def encodable(text: str) -> str:
    """Return `text` with what cannot be sent, such as half of a surrogate pair, replaced by question marks."""
    return text.encode("utf-8", "replace").decode()


def with_schema_in_text(messages: Sequence[Message], schema: Schema) -> list[Message]:
    """Return `messages` with the schema told at their end, for a model that cannot be held to it."""
    told = f"Answer with one JSON object that follows this JSON Schema, and nothing else:\n{json.dumps(schema.schema)}"
    *before, last = messages
    if last.role != "user":
        return [*messages, Message("user", told)]
    return [*before, Message("user", f"{last.content}\n\n{told}")]
