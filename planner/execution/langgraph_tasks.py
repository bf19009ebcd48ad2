"""What the executor uses of LangGraph's functional API."""

from collections.abc import Awaitable, Callable, Coroutine
from inspect import Signature
from typing import Any, cast

from langgraph.config import get_config
from langgraph.func import task  # pyright: ignore[reportMissingTypeStubs]  # typed in its source, without a py.typed
from langgraph.types import _interrupt_id  # pyright: ignore[reportPrivateUsage]  # where a task's next answer goes

from planner.execution.acknowledge import Acknowledgements

NO_ARGUMENTS = Signature()


def nested(name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Awaitable[Any]:
    """Call `work` as a LangGraph task of its own, inside the current one."""
    return cast("Awaitable[Any]", named_task(work, name)())


async def durable(
    name: str, work: Callable[[], Coroutine[Any, Any, Any]], acknowledgements: Acknowledgements | None
) -> Any:
    """Call `work` as a task of its own, and return its result once that is stored; stored before, it is not called."""
    here: list[str] = []

    async def noted() -> Any:
        here.append(current_task_id())
        return await work()

    result = await nested(name, noted)
    if acknowledgements is not None and here:
        await acknowledgements.of(here[0])
    return result


def named_task(work: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Callable[[], Any]:
    """Return `work` as a LangGraph task called `name`."""
    cast("Any", work).__signature__ = NO_ARGUMENTS  # LangGraph would find that out for each of them, which takes long
    return cast("Callable[[], Any]", task(name=name)(work))


def current_task_id() -> str:
    """Return the id that LangGraph gave the task that runs now; its writes are acknowledged under it."""
    return str(_here()["__pregel_task_id"])


def pass_over_call() -> None:
    """Count a nested task that is not called: tasks are known by their number, so those after it keep theirs."""
    _here()["__pregel_scratchpad"].call_counter()


def answers_here(stored: int) -> int:
    """Return how many of its questions the current task has the answers to, `stored` of them from an earlier life.

    LangGraph also takes an answer to the first question for one to the next; such an answer, given again after a crash
    to a task that has had it, is dropped here. What is new is stored with whatever the task writes next, also when that
    is a question of another kind, which would otherwise be all that is known of it.
    """
    here = _here()
    answers = here["__pregel_scratchpad"].resume
    if len(answers) > stored and _interrupt_id(here["checkpoint_ns"], len(answers) - 1) not in _given(here):
        answers.pop()
    if len(answers) > stored:
        here["__pregel_send"]([("__resume__", list(answers))])
    return len(answers)


def question_id(answered: int) -> str:
    """Return the id of the question that the current task asks after so many answers."""
    return _interrupt_id(_here()["checkpoint_ns"], answered)


def _given(here: dict[str, Any]) -> dict[str, Any]:
    return here.get("__pregel_resume_map") or {}


def _here() -> dict[str, Any]:
    return get_config().get("configurable", {})
