"""The real `openai` client against a real server that does everything servers do."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import SecretStr

from planner.drafting import Completion, Message, OpenAIModel, Schema, Usage
from planner.drafting.language_model import completion_of, is_permanent
from planner.drafting.wire_schema import closed
from planner.errors import ModelRefused, ModelTruncated, ModelUnavailable
from tests.support.openai_server import OpenAIServer, Reply, error, refused, text, truncated

MESSAGES = [Message("system", "be brief"), Message("user", "plan it")]
SCHEMA = Schema(name="plan", schema=closed({"steps": {"type": "array", "items": {"type": "string"}}}))


def model(server: OpenAIServer, **options: Any) -> OpenAIModel:
    return OpenAIModel("m", base_url=server.url, api_key="sk-secret", **options)


async def ask(server: OpenAIServer, *replies: Reply, **options: Any) -> Completion:
    server.replies.extend(replies)
    async with model(server, **options) as asked:
        return await asked.complete(MESSAGES, SCHEMA)


async def test_an_answer_comes_with_what_it_used(server: OpenAIServer) -> None:
    """Cached tokens are counted apart."""
    completion = await ask(server, text({"steps": []}, prompt_tokens_details={"cached_tokens": 64}))

    usage = Usage(prompt_tokens=100, cached_tokens=64, completion_tokens=20, calls=1)
    assert completion == Completion(text='{"steps": []}', usage=usage)


async def test_the_request_holds_the_model_to_the_strict_schema(server: OpenAIServer) -> None:
    """The answer's length is bounded, for strict schemas can make a model write without end."""
    await ask(server, text("{}"), max_tokens=77, temperature=0.0)

    (request,) = server.requests
    given = {"name": "plan", "schema": SCHEMA.schema, "strict": True}
    assert request["response_format"] == {"type": "json_schema", "json_schema": given}
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("m", 77, 0.0)
    assert request["messages"] == [{"role": message.role, "content": message.content} for message in MESSAGES]
    assert server.keys == ["Bearer sk-secret"]


@pytest.mark.parametrize(
    ("refuses", "formats"),
    [
        ({"json_schema"}, ["json_schema", "json_object", "json_object"]),
        ({"json_schema", "json_object"}, ["json_schema", "json_object", "text", "text"]),
    ],
)
async def test_a_response_format_that_is_refused_is_not_asked_for_again(
    server: OpenAIServer, refuses: set[str], formats: list[str]
) -> None:
    """Below the strict schema, the schema is told in the prompt."""
    server.refuses = refuses
    server.replies.extend([text("{}"), text("{}")])
    async with model(server) as asked:
        for _ in range(2):
            await asked.complete(MESSAGES, SCHEMA)

    assert server.formats == formats
    assert '"additionalProperties": false' in server.requests[-1]["messages"][-1]["content"]
    assert server.requests[-1]["messages"][-1]["content"].startswith("plan it")


async def test_a_schema_that_is_not_strict_is_refused_by_the_server_and_told_instead(server: OpenAIServer) -> None:
    """The server of these tests checks strict schemas as OpenAI does."""
    server.replies.append(text("{}"))
    async with model(server) as asked:
        await asked.complete(MESSAGES, Schema(name="open", schema={"type": "object"}))

    assert server.formats == ["json_schema", "json_object"]


async def test_a_refusal_for_another_reason_does_not_cost_the_strict_schema(server: OpenAIServer) -> None:
    """A prompt that is too long would be too long in any format."""
    server.replies.extend([error(400, "maximum context length is 8192", code="context_length_exceeded"), text("{}")])
    async with model(server) as asked:
        with pytest.raises(ModelUnavailable, match="maximum context length"):
            await asked.complete(MESSAGES, SCHEMA)
        await asked.complete(MESSAGES, SCHEMA)

    assert server.formats == ["json_schema", "json_schema"]


async def test_a_server_that_wants_the_other_name_for_the_limit_gets_it(server: OpenAIServer) -> None:
    """Newer models of OpenAI refuse `max_tokens`; the name that worked is kept."""
    unsupported = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    server.replies.extend([error(400, unsupported, param="max_tokens"), text("{}"), text("{}")])
    async with model(server, max_tokens=5) as asked:
        for _ in range(2):
            await asked.complete(MESSAGES, SCHEMA)

    assert [request.get("max_completion_tokens") for request in server.requests] == [None, 5, 5]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_busy_is_asked_again(server: OpenAIServer, status: int) -> None:
    """The client waits as long as the server says."""
    busy = error(status, "busy", retry_after="0.01")

    assert (await ask(server, busy, busy, text("{}"))).text == "{}"
    assert len(server.requests) == 3


FAILURES: dict[str, tuple[Reply, str]] = {
    "rate limit": (error(429, "slow down", retry_after="0.01"), "no more requests"),
    "a delay of an hour": (error(429, "slow down", retry_after="3600"), "no more requests"),
    "status 500": (error(500, "oops", retry_after="0.01"), "status 500 after 2 attempts"),
    "a wrong key": (error(401, "Incorrect API key provided: sk-secret"), "give api_key="),
    "a key without rights": (error(403, "not for you"), "GOALGRAPH_API_KEY or OPENAI_API_KEY"),
    "an unknown model": (error(404, "no such model"), "check the model's name"),
    "another refusal": (error(418, "a teapot"), "a teapot"),
    "a page": (Reply(body=b"<html>hello</html>", media_type="text/html"), "no chat completion"),
    "half of the JSON": (Reply(body=b'{"id": "c1", "choices": ['), "base_url"),
    "other JSON": (Reply(body={"hello": "world"}), "no chat completion"),
    "a list": (Reply(body=[1]), "no chat completion"),
    "no choices": (Reply(body={"id": "c1", "choices": []}), "no chat completion"),
    "null for choices": (Reply(body={"id": "c1", "choices": None}), "no chat completion"),
    "a choice without a message": (Reply(body={"choices": [{"index": 0}]}), "no chat completion"),
    "an empty answer": (text("  "), "empty answer"),
    "null for the answer": (text(None), "empty answer"),
    "tool calls": (text(None, finish_reason="tool_calls"), "empty answer"),
}


@pytest.mark.parametrize(("reply", "advice"), FAILURES.values(), ids=FAILURES.keys())
async def test_what_is_no_answer_is_an_error_that_says_what_to_do(
    server: OpenAIServer, reply: Reply, advice: str
) -> None:
    """Whatever comes back, and never with the key in it."""
    with pytest.raises(ModelUnavailable, match=advice) as caught:
        await ask(server, reply, reply, max_retries=1)

    assert "sk-secret" not in str(caught.value)
    assert is_permanent(caught.value) is (reply.status in {401, 403, 404})


async def test_a_refusal_is_told_apart_and_counted(server: OpenAIServer) -> None:
    """The model's words are in the message."""
    with pytest.raises(ModelRefused, match="I can't help with that") as caught:
        await ask(server, refused())

    completion = completion_of(caught.value)
    assert completion is not None
    assert (completion.usage.tokens, completion.finish_reason) == (120, "refusal")


async def test_a_filtered_answer_is_a_refusal(server: OpenAIServer) -> None:
    """Providers filter without a word of the model."""
    with pytest.raises(ModelRefused, match="filtered"):
        await ask(server, text("", finish_reason="content_filter"))


async def test_an_answer_that_was_cut_off_is_kept(server: OpenAIServer) -> None:
    """Perhaps all of the plan is there."""
    with pytest.raises(ModelTruncated, match="raise max_tokens=") as caught:
        await ask(server, truncated('{"steps": ['))

    completion = completion_of(caught.value)
    assert completion is not None
    assert (completion.text, completion.usage.calls) == ('{"steps": [', 1)


async def test_a_slow_answer_is_not_waited_for(server: OpenAIServer) -> None:
    """The message names the option."""
    with pytest.raises(ModelUnavailable, match="raise timeout=") as caught:
        await ask(server, Reply(slow=True), timeout=0.2, max_retries=0)

    assert not is_permanent(caught.value)


async def test_a_call_can_be_cancelled(server: OpenAIServer) -> None:
    """Nothing of it stays behind."""
    server.replies.append(Reply(slow=True))
    async with model(server) as asked:
        call = asyncio.create_task(asked.complete(MESSAGES))
        async with asyncio.timeout(10):
            await server.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_server_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    """The usual mistake is in base_url."""
    async with OpenAIModel("m", base_url=f"http://127.0.0.1:{unused_tcp_port}/v1", max_retries=0) as asked:
        with pytest.raises(
            ModelUnavailable, match=f"m at http://127.0.0.1:{unused_tcp_port}/v1 cannot be reached"
        ) as e:
            await asked.complete(MESSAGES)

    assert is_permanent(e.value)


async def test_without_a_key_the_error_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's own server wants one."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with OpenAIModel("m") as asked:
        with pytest.raises(ModelUnavailable) as caught:
            await asked.complete(MESSAGES)

    assert str(caught.value) == "m has no key; set GOALGRAPH_API_KEY or OPENAI_API_KEY, or give api_key="
    assert is_permanent(caught.value)


async def test_a_client_that_was_given_stays_open(server: OpenAIServer) -> None:
    """Who opens, closes."""
    server.replies.extend([text("one"), text("two")])
    async with AsyncOpenAI(base_url=server.url, api_key="k") as client:
        async with OpenAIModel("m", client=client) as asked:
            await asked.complete(MESSAGES)
        assert (await OpenAIModel("m", client=client).complete(MESSAGES)).text == "two"


async def test_half_a_surrogate_pair_does_not_stop_a_request(server: OpenAIServer) -> None:
    """A user's text may be broken."""
    server.replies.append(text("{}"))
    async with model(server) as asked:
        await asked.complete([Message("user", "half \ud800")])

    assert server.requests[0]["messages"][0]["content"] == "half ?"


def test_the_key_is_not_shown() -> None:
    """Neither given as text nor as a secret."""
    shown = [
        repr(OpenAIModel("m", api_key=key)) + str(vars(OpenAIModel("m", api_key=key)))
        for key in ("k3y", SecretStr("k3y"))
    ]

    assert not [one for one in shown if "k3y" in one]


def test_the_client_is_imported_only_when_it_is_used() -> None:
    """Planning by types must start fast."""
    script = "import sys, planner.drafting as d; d.OpenAIModel('m'); print('openai' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "False"
