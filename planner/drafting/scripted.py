"""A language model that says what it was told to: for tests, examples and demonstrations."""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.drafting.language_model import Completion, Message, Schema, Usage
from planner.drafting.wire import to_wire
from planner.errors import ModelUnavailable
from planner.plan import CandidatePlan

Reply = str | Mapping[str, Any] | CandidatePlan | Completion | BaseException
Answer = Reply | Callable[[Sequence[Message]], "Reply | Awaitable[Reply]"]

CHARS_PER_TOKEN = 4
"""The usual estimate; it makes token budgets testable."""


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call that was made."""

    messages: Sequence[Message]
    schema: Schema | None

    @property
    def prompt(self) -> str:
        """All messages as one text."""
        return "\n\n".join(message.content for message in self.messages)


class ScriptedModel:
    """Gives `answers` one after the other, and remembers what it was asked.

    Args:
        answers: Each a text, JSON data, a plan, a `Completion`, an exception to raise, or a function (sync or async)
            from the messages to one of these.
        repeat: Whether the last answer is given again when there are no more.
    """

    def __init__(self, answers: Iterable[Answer] = (), *, repeat: bool = False) -> None:
        self.answers: list[Answer] = list(answers)
        self.repeat = repeat
        self.calls: list[ScriptedCall] = []

    def __repr__(self) -> str:
        return f"ScriptedModel({len(self.answers)} answers, {len(self.calls)} calls)"

    async def complete(self, messages: Sequence[Message], schema: Schema | None = None) -> Completion:
        """Give the next answer; see `LanguageModel`.

        Raises:
            ModelUnavailable: there are no more answers; the message says how many there were.
        """
        self.calls.append(ScriptedCall(tuple(messages), schema))
        number = len(self.calls) - 1
        if number >= len(self.answers):
            if not self.repeat or not self.answers:
                asked = f"ScriptedModel was asked {len(self.calls)} times and has {len(self.answers)} answers"
                raise ModelUnavailable(f"{asked}; give it more, or repeat=True")
            number = len(self.answers) - 1
        answer = self.answers[number]
        if callable(answer) and not isinstance(answer, BaseException):
            found = answer(messages)
            answer = await found if inspect.isawaitable(found) else found
        return _completion(answer, messages)


def _completion(reply: Any, messages: Sequence[Message]) -> Completion:
    match reply:
        case BaseException():
            raise reply
        case Completion():
            return reply
        case CandidatePlan():
            return _count(json.dumps(to_wire(reply), ensure_ascii=False, default=str), messages, to_wire(reply))
        case str():
            return _count(reply, messages, None)
        case Mapping():
            return _count(json.dumps(reply, ensure_ascii=False, default=str), messages, reply)
        case _:
            raise TypeError(f"ScriptedModel cannot answer with a {type(reply).__name__}; see its docstring")


def _count(text: str, messages: Sequence[Message], parsed: Any) -> Completion:
    prompt = sum(len(message.content) for message in messages) // CHARS_PER_TOKEN
    usage = Usage(prompt_tokens=prompt, completion_tokens=len(text) // CHARS_PER_TOKEN, calls=1)
    return Completion(text=text, parsed=parsed, usage=usage)
