"""Any server that speaks OpenAI's chat completions, through the official client."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, cast

from pydantic import SecretStr

from planner.drafting.language_model import (
    PERMANENT,
    Completion,
    Message,
    Schema,
    Usage,
    encodable,
    with_schema_in_text,
)
from planner.errors import ModelRefused, ModelTruncated, ModelUnavailable

if TYPE_CHECKING:  # the client takes most of a second to import, and many plans need no model
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

Format = Literal["json_schema", "json_object", "text"]

FORMATS: tuple[Format, ...] = ("json_schema", "json_object", "text")
"""How an answer is held to a schema, the surest first; a server that refuses one is asked with the next."""

UNRELATED_CODES = frozenset(
    {"context_length_exceeded", "model_not_found", "content_filter", "content_policy_violation"}
)
"""Refusals that no other format would change."""

GIVE_A_KEY = "set GOALGRAPH_API_KEY or OPENAI_API_KEY, or give api_key="

SHOWN_CHARS = 300
"""Of what a server says about an error."""


class OpenAIModel:
    """A model behind the `openai` client.

    The client retries 429 (after `Retry-After`), 408, 409 and 5xx by itself. A server that knows no strict schemas is
    asked for a JSON object, and one that knows neither for text; what a server refused is not tried again.

    Args:
        model: The model's name, as the server knows it.
        base_url: Of a compatible server, up to and with `/v1`; OpenAI's own by default.
        api_key: A key, or nothing where the client finds one itself (`OPENAI_API_KEY`).
        client: A client that is ready, with its own key, timeout and retries; the caller closes it.
        max_tokens: Of one answer: strict schemas can make a model write without end.
        timeout: Seconds for one attempt.
        max_retries: Attempts after the first.
        temperature: As the server takes it; its default when `None`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        client: "AsyncOpenAI | None" = None,
        max_tokens: int = 8_192,
        timeout: float = 120.0,
        max_retries: int = 2,
        temperature: float | None = None,
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.max_tokens = max_tokens
        self.timeout = timeout
        self.max_retries = max_retries
        self.temperature = temperature
        self._key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._given = client
        self._own: tuple[asyncio.AbstractEventLoop, AsyncOpenAI] | None = None
        self._format = 0
        # OpenAI's newer models refuse max_tokens; compatible servers often know nothing else
        self._limit_name = "max_completion_tokens" if base_url is None and client is None else "max_tokens"

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r})"

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Completion:
        """Answer `messages`; see `LanguageModel`.

        Raises:
            ModelRefused: the model declined.
            ModelTruncated: it stopped at `max_tokens`; the error's second argument is what it had written.
            ModelUnavailable: it could not be reached, or what came back is no chat completion. A key that lacks or is
                not accepted, a model that is not there and a server that is not there are `PERMANENT`.
        """
        from openai import OpenAIError  # noqa: PLC0415 -- see TYPE_CHECKING above

        try:
            answer = await self._ask(messages, schema)
        except OpenAIError as error:
            self._explain(error)
        except ValueError as error:  # a body that says it is JSON and is not
            raise ModelUnavailable(f"{self._place} sent an answer that is no JSON; check base_url") from error
        return _read(answer, self._place)

    async def aclose(self) -> None:
        """Close the connections, unless the client was given."""
        own, self._own = self._own, None
        if own is not None and own[0] is asyncio.get_running_loop():
            await own[1].close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def _place(self) -> str:
        return f"{self.model} at {self.base_url}" if self.base_url else self.model

    def _client(self) -> "AsyncOpenAI":
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        if self._own is None or self._own[0] is not loop:  # connections belong to the loop that they were opened in
            from openai import AsyncOpenAI, OpenAIError  # noqa: PLC0415 -- see TYPE_CHECKING above

            key = self._key.get_secret_value() if self._key else None
            if key is None and self.base_url is not None:
                key = "none"  # servers of one's own often want no key, but the client does
            try:
                client = AsyncOpenAI(
                    api_key=key, base_url=self.base_url, timeout=self.timeout, max_retries=self.max_retries
                )
            except OpenAIError as error:  # it looked for a key, and names variables that are not ours
                raise ModelUnavailable(f"{self._place} has no key; {GIVE_A_KEY}", PERMANENT) from error
            self._own = (loop, client)
        return self._own[1]

    async def _ask(self, messages: Sequence[Message], schema: Schema | None) -> Any:
        """Ask in the surest format that the server takes, and remember which that is."""
        from openai import BadRequestError, UnprocessableEntityError  # noqa: PLC0415 -- see TYPE_CHECKING above

        tried, limit, swapped = self._format, self._limit_name, False
        while True:
            try:
                answer = await self._send(messages, schema, FORMATS[tried], limit)
            except (BadRequestError, UnprocessableEntityError) as error:
                if not swapped and _is_the_limit(error):
                    swapped = True
                    limit = "max_tokens" if limit == "max_completion_tokens" else "max_completion_tokens"
                elif schema is not None and tried + 1 < len(FORMATS) and _may_be_the_format(error):
                    tried += 1
                else:
                    raise
            else:
                self._format, self._limit_name = max(tried, self._format), limit
                return answer

    async def _send(
        self, messages: Sequence[Message], schema: Schema | None, form: Format, limit: str
    ) -> "ChatCompletion":
        options: dict[str, Any] = {limit: self.max_tokens}
        if self.temperature is not None:
            options["temperature"] = self.temperature
        if schema is not None:
            if form == "json_schema":
                given = {"name": schema.name, "schema": schema.schema, "strict": schema.strict}
                options["response_format"] = {"type": "json_schema", "json_schema": given}
            else:
                messages = with_schema_in_text(messages, schema)
                if form == "json_object":
                    options["response_format"] = {"type": "json_object"}
        told: Any = [{"role": message.role, "content": encodable(message.content)} for message in messages]
        completions: Any = self._client().chat.completions  # whose overloads cannot take options from a dict
        return await completions.create(model=self.model, messages=told, **options)

    def _explain(self, error: Exception) -> NoReturn:
        """Say what went wrong and what to do, without the key or the prompt."""
        import openai  # noqa: PLC0415 -- see TYPE_CHECKING above

        said = str(error)[:SHOWN_CHARS]
        refused = openai.AuthenticationError | openai.PermissionDeniedError | openai.NotFoundError
        unreachable = isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)
        lasting = unreachable or isinstance(error, refused)
        match error:
            case openai.APITimeoutError():
                advice = f"did not answer within {self.timeout:g} s, {self.max_retries + 1} times; raise timeout="
            case openai.APIConnectionError():
                advice = "cannot be reached; check base_url and whether the server runs"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                advice = f"does not accept the key; {GIVE_A_KEY}"
            case openai.NotFoundError():
                advice = f"is not there ({said}); check the model's name and base_url, which often ends in /v1"
            case openai.RateLimitError():
                advice = "allows no more requests for now; wait, or ask for fewer candidates"
            case openai.APIStatusError(status_code=status) if status >= 500:
                advice = f"fails with status {status} after {self.max_retries + 1} attempts; try again later"
            case openai.APIStatusError(status_code=status):
                advice = f"refuses the request with status {status}: {said}"
            case _:
                advice = f"cannot be used: {said}"
        raise ModelUnavailable(f"{self._place} {advice}", *([PERMANENT] if lasting else [])) from error


def _too_long(error: Any) -> bool:
    return error.code in UNRELATED_CODES or "context length" in str(error).lower()


def _is_the_limit(error: Any) -> bool:
    said = f"{error.param or ''} {error}"
    return not _too_long(error) and ("max_tokens" in said or "max_completion_tokens" in said)


def _may_be_the_format(error: Any) -> bool:
    """Tell whether another format could help: servers say in many ways that they do not know this one."""
    param = error.param or ""
    return not _too_long(error) and (not param or any(word in param for word in ("format", "schema", "json")))


def _read(answer: Any, place: str) -> Completion:
    """Check a response, which the client does not: servers of all kinds call themselves compatible."""
    choices: Any = getattr(answer, "choices", None)
    choice: Any = cast("list[Any]", choices)[0] if isinstance(choices, list) and choices else None
    message: Any = getattr(choice, "message", None)
    if message is None:
        raise ModelUnavailable(
            f"{place} sent something that is no chat completion; check base_url, which often ends in /v1"
        )
    text = message.content if isinstance(getattr(message, "content", None), str) else ""
    reason = str(getattr(choice, "finish_reason", None) or "stop")
    refusal = getattr(message, "refusal", None)
    usage = _usage(getattr(answer, "usage", None))
    if refusal or reason == "content_filter":
        said = f": {str(refusal)[:SHOWN_CHARS]}" if refusal else ", its provider filtered the answer"
        completion = Completion(text=str(refusal or text), usage=usage, finish_reason="refusal")
        raise ModelRefused(f"{place} declined to answer{said}", completion)
    completion = Completion(text=text, usage=usage, finish_reason=reason)
    if reason == "length":
        message = f"{place} was cut off after {usage.completion_tokens} tokens; raise max_tokens="
        raise ModelTruncated(message, completion)
    if not text.strip():
        raise ModelUnavailable(
            f"{place} sent an empty answer (finish_reason {reason!r}); try again, or another model", completion
        )
    return completion


def _usage(usage: Any) -> Usage:
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        calls=1,
    )


def _count(usage: Any, name: str) -> int:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
