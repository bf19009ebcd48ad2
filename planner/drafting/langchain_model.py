"""Any chat model of LangChain."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from planner.drafting.language_model import (
    PERMANENT,
    Completion,
    LanguageModel,
    Message,
    Schema,
    Usage,
    encodable,
    is_permanent,
    with_schema_in_text,
)
from planner.errors import ModelError, ModelRefused, ModelTruncated, ModelUnavailable

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

LENGTH_REASONS = frozenset({"length", "max_tokens", "MAX_TOKENS"})
REFUSAL_REASONS = frozenset({"refusal", "content_filter", "SAFETY"})
"""How providers say why an answer ended."""

NO_KEY_STATUSES = frozenset({401, 403})
NOT_THERE = 404
DEAD_SERVER = frozenset({"APIConnectionError", "ConnectError", "ClientConnectorError"})
"""What the clients of the providers call it; a timeout has a name of its own."""


class LangChainModel:
    """A `BaseChatModel`; it is held to the schema where it has structured output, and told it where it has not.

    Args:
        chat_model: The model, with its own key, retries and timeout.
    """

    def __init__(self, chat_model: "BaseChatModel") -> None:
        self.chat_model = chat_model
        self._structured = True

    def __repr__(self) -> str:
        return f"LangChainModel({type(self.chat_model).__name__})"

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Completion:
        """Answer `messages`; see `LanguageModel`.

        Raises:
            ModelRefused: the model declined.
            ModelTruncated: it stopped at its length limit; the error's second argument is what it had written.
            ModelUnavailable: whatever the provider raised.
        """
        if schema is None:
            return self._read(await self._invoke(self.chat_model, messages), None)
        structured = self._bind(schema) if self._structured else None
        if structured is not None:
            try:
                answer = await self._invoke(structured, messages)
            except ModelUnavailable as error:
                if is_permanent(error) and _status(error.__cause__) != NOT_THERE:  # some say 404 to a schema
                    raise
                # the schema may be what the provider refuses; if it is not, asking without it fails in the same way
                answer = await self._invoke(self.chat_model, with_schema_in_text(messages, schema))
                self._structured = False
            return self._read(answer, schema)
        return self._read(await self._invoke(self.chat_model, with_schema_in_text(messages, schema)), schema)

    def _bind(self, schema: Schema) -> Any:
        titled = {"title": schema.name, "description": "The answer.", **schema.schema}
        try:
            return self.chat_model.with_structured_output(titled, include_raw=True)
        except (NotImplementedError, ValueError, TypeError):
            self._structured = False
            return None

    async def _invoke(self, runnable: Any, messages: Sequence[Message]) -> Any:
        try:
            return await runnable.ainvoke([(message.role, encodable(message.content)) for message in messages])
        except ModelError:
            raise
        except Exception as error:  # each provider has its own errors; here they become ours
            kind = type(error).__name__
            raise ModelUnavailable(
                f"{self!r} failed with {kind}: {str(error)[:300]}; check its key, name and limits",
                *([PERMANENT] if _is_lasting(error) else []),
            ) from error

    def _read(self, answer: Any, schema: Schema | None) -> Completion:
        both = cast("Mapping[str, Any]", answer) if isinstance(answer, dict) else {"raw": answer}
        raw, parsed = both.get("raw"), both.get("parsed")
        details = cast("Mapping[str, Any]", getattr(raw, "response_metadata", None) or {})
        reason = str(details.get("finish_reason") or details.get("stop_reason") or "stop")
        refusal = cast("Mapping[str, Any]", getattr(raw, "additional_kwargs", None) or {}).get("refusal")
        usage = _usage(getattr(raw, "usage_metadata", None))
        text = _text(raw, parsed)
        if refusal or reason in REFUSAL_REASONS:
            completion = Completion(text=str(refusal or text), usage=usage, finish_reason="refusal")
            raise ModelRefused(f"{self!r} declined to answer{f': {str(refusal)[:300]}' if refusal else ''}", completion)
        if reason in LENGTH_REASONS:
            completion = Completion(text=text, usage=usage, finish_reason="length")
            raise ModelTruncated(f"{self!r} was cut off; raise its token limit", completion)
        return Completion(text=text, parsed=parsed if schema else None, usage=usage)


def _status(error: BaseException | None) -> Any:
    return getattr(error, "status_code", None)


def _is_lasting(error: Exception) -> bool:
    """Tell whether the provider would fail in the same way again."""
    dead = isinstance(error, ConnectionError) or type(error).__name__ in DEAD_SERVER
    return dead or _status(error) in {*NO_KEY_STATUSES, NOT_THERE}


def _text(raw: Any, parsed: Any) -> str:
    """Return what the model wrote: its text, or the call of the tool that stands for the schema."""
    if parsed is not None:
        return json.dumps(parsed, ensure_ascii=False, default=str)
    content = getattr(raw, "content", "")
    if isinstance(content, str) and content.strip():
        return content
    if isinstance(content, list):
        blocks = cast("list[Any]", content)
        joined = "".join(block if isinstance(block, str) else str(block.get("text", "")) for block in blocks)
        if joined.strip():
            return joined
    invalid = cast("list[Mapping[str, Any]]", getattr(raw, "invalid_tool_calls", None) or [])
    return str(invalid[0].get("args") or "") if invalid else ""


def _usage(usage: Any) -> Usage:
    counts = cast("Mapping[str, Any]", usage or {})
    cached = cast("Mapping[str, Any]", counts.get("input_token_details") or {}).get("cache_read") or 0
    return Usage(
        prompt_tokens=counts.get("input_tokens") or 0,
        cached_tokens=cached,
        completion_tokens=counts.get("output_tokens") or 0,
        calls=1,
    )


def as_language_model(model: "LanguageModel | BaseChatModel") -> LanguageModel:
    """Return `model` as the planner knows models: itself, or a LangChain model in its wrapping.

    Raises:
        TypeError: it is neither.
    """
    if callable(getattr(model, "complete", None)):
        return cast("LanguageModel", model)
    if callable(getattr(model, "ainvoke", None)):
        return LangChainModel(cast("BaseChatModel", model))
    kind = type(model).__name__
    raise TypeError(
        f"a {kind} is no language model; give an OpenAIModel, a LangChain chat model, or your own complete()"
    )
