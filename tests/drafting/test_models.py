"""The scripted model for tests, and LangChain's models behind our protocol."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field

from planner.catalog import ActionCatalog
from planner.drafting import (
    Completion,
    Drafter,
    LangChainModel,
    Message,
    PlanningContext,
    Schema,
    ScriptedModel,
    Usage,
    as_language_model,
)
from planner.drafting.language_model import completion_of, is_permanent
from planner.drafting.wire_schema import closed
from planner.errors import ModelError, ModelRefused, ModelTruncated, ModelUnavailable
from planner.plan import CandidatePlan

MESSAGES = [Message("system", "be brief"), Message("user", "plan it")]
SCHEMA = Schema(name="plan", schema=closed({"steps": {"type": "array", "items": {"type": "string"}}}))
PLAN = CandidatePlan.from_dict({"steps": [{"id": "a", "action": "plot", "inputs": {"table": "${user.t}"}}]})


async def test_a_scripted_model_gives_its_answers_in_order_and_remembers_the_calls() -> None:
    """Text, data, a plan, a completion, a function, an async function."""

    async def late(messages: Sequence[Message]) -> str:
        return messages[-1].content.upper()

    ready = Completion(text="done", usage=Usage(calls=7))
    model = ScriptedModel(["hi", {"a": 1}, PLAN, ready, lambda messages: str(len(messages)), late])
    given = [await model.complete(MESSAGES, SCHEMA) for _ in range(6)]

    assert [one.text for one in given[:2]] == ["hi", '{"a": 1}']
    assert given[2].parsed["steps"][0]["inputs"] == {"table": {"ref": "user.t"}}
    assert [one.text for one in given[3:]] == ["done", "2", "PLAN IT"]
    assert (given[0].usage.calls, given[3].usage.calls) == (1, 7)
    assert model.calls[0].prompt == "be brief\n\nplan it"
    assert model.calls[0].schema is SCHEMA


async def test_a_scripted_exception_is_raised() -> None:
    """As a real model would."""
    with pytest.raises(ModelRefused, match="no"):
        await ScriptedModel([ModelRefused("no")]).complete(MESSAGES)


async def test_a_scripted_model_that_has_no_answer_left_says_so() -> None:
    """And how to give it more."""
    model = ScriptedModel(["one"])
    await model.complete(MESSAGES)

    with pytest.raises(ModelUnavailable, match="asked 2 times and has 1 answers; give it more, or repeat=True"):
        await model.complete(MESSAGES)


async def test_a_scripted_model_can_repeat_its_last_answer() -> None:
    """For examples that plan several times."""
    model = ScriptedModel(["one", "two"], repeat=True)

    assert [(await model.complete(MESSAGES)).text for _ in range(4)] == ["one", "two", "two", "two"]


async def test_a_scripted_plan_is_drafted(catalog: ActionCatalog) -> None:
    """The shortest test of a program that plans."""
    context = PlanningContext(goal="draw", user_inputs={"t": {}})

    assert (await Drafter(catalog, ScriptedModel([PLAN])).draft(context)).plan == PLAN


class Chat(BaseChatModel):
    """A chat model that answers with one message, or fails."""

    message: Any
    structured: bool = False
    refuses_schema: bool = False
    seen: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "chat"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.seen.append(messages)
        if isinstance(self.message, Exception) or (self.refuses_schema and "tools" in kwargs):
            raise self.message if isinstance(self.message, Exception) else ValueError("no such schema")
        return ChatResult(generations=[ChatGeneration(message=self.message)])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        if not self.structured:
            raise NotImplementedError
        return self.bind(tools=tools)


USED = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_token_details": {"cache_read": 4}}


async def test_a_chat_model_without_structured_output_is_told_the_schema() -> None:
    """Its text is read later."""
    chat = Chat(message=AIMessage('{"steps": []}', usage_metadata=USED))

    completion = await LangChainModel(chat).complete(MESSAGES, SCHEMA)

    usage = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=5, calls=1)
    assert completion == Completion(text='{"steps": []}', usage=usage)
    assert "JSON Schema" in chat.seen[0][-1].content


async def test_a_chat_model_with_structured_output_is_held_to_the_schema() -> None:
    """The answer comes as data."""
    call = {"name": "plan", "args": {"steps": ["a"]}, "id": "1", "type": "tool_call"}
    chat = Chat(structured=True, message=AIMessage("", tool_calls=[call], usage_metadata=USED))

    completion = await LangChainModel(chat).complete(MESSAGES, SCHEMA)

    assert (completion.parsed, json.loads(completion.text)) == ({"steps": ["a"]}, {"steps": ["a"]})
    assert chat.seen[0][-1].content == "plan it"
    assert completion.usage.cached_tokens == 4


async def test_a_provider_that_refuses_the_schema_is_told_it_instead() -> None:
    """And is not asked with it again."""
    chat = Chat(structured=True, refuses_schema=True, message=AIMessage("{}"))
    model = LangChainModel(chat)

    for _ in range(2):
        assert (await model.complete(MESSAGES, SCHEMA)).text == "{}"
    assert ["JSON Schema" in messages[-1].content for messages in chat.seen] == [False, True, True]


async def test_an_answer_in_blocks_is_read() -> None:
    """Some providers give lists of parts."""
    chat = Chat(message=AIMessage([{"type": "text", "text": '{"a"'}, {"type": "text", "text": ": 1}"}]))

    assert (await LangChainModel(chat).complete(MESSAGES)).text == '{"a": 1}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (AIMessage("{", response_metadata={"finish_reason": "length"}), ModelTruncated),
        (AIMessage("{", response_metadata={"stop_reason": "max_tokens"}), ModelTruncated),
        (AIMessage("", additional_kwargs={"refusal": "I won't"}), ModelRefused),
        (AIMessage("", response_metadata={"stop_reason": "refusal"}), ModelRefused),
        (ConnectionError("unplugged"), ModelUnavailable),
    ],
)
async def test_failures_of_a_chat_model_become_ours(message: Any, expected: type[ModelError]) -> None:
    """What it had written is kept."""
    with pytest.raises(expected) as caught:
        await LangChainModel(Chat(message=message)).complete(MESSAGES, SCHEMA)

    if expected is ModelTruncated:
        assert completion_of(caught.value) == Completion(text="{", usage=Usage(calls=1), finish_reason="length")


class HTTPFault(Exception):
    """An error of a provider's client."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize(
    ("fault", "permanent", "calls"),
    [
        (HTTPFault(401), True, 1),
        (HTTPFault(403), True, 1),
        (HTTPFault(404), True, 2),
        (ConnectionRefusedError(), True, 1),
        (HTTPFault(429), False, 2),
        (TimeoutError(), False, 2),
    ],
)
async def test_a_chat_model_that_cannot_work_says_so(fault: Exception, *, permanent: bool, calls: int) -> None:
    """Without the schema it is asked only where the schema may be the reason."""
    chat = Chat(structured=True, message=fault)

    with pytest.raises(ModelUnavailable) as caught:
        await LangChainModel(chat).complete(MESSAGES, SCHEMA)

    assert (is_permanent(caught.value), len(chat.seen)) == (permanent, calls)


async def test_a_plan_is_drafted_by_a_chat_model(catalog: ActionCatalog) -> None:
    """Any of LangChain's, here one that only writes text."""
    answer = f"Here it is:\n```json\n{json.dumps(PLAN.to_dict())}\n```"
    model = as_language_model(GenericFakeChatModel(messages=iter([AIMessage(answer)])))

    result = await Drafter(catalog, model).draft(PlanningContext(goal="draw", user_inputs={"t": {}}))

    assert result.plan == PLAN


def test_a_model_of_any_kind_is_taken() -> None:
    """Ours as they are, LangChain's wrapped, nothing else."""
    ours, chat = ScriptedModel(), Chat(message=AIMessage(""))

    assert as_language_model(ours) is ours
    assert isinstance(as_language_model(chat), LangChainModel)
    with pytest.raises(TypeError, match="a str is no language model"):
        as_language_model("gpt")  # pyright: ignore[reportArgumentType] -- what a user might write
