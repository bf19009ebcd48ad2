"""What the executor uses of LangGraph's functional API."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from langgraph.config import get_config
from langgraph.func import task  # pyright: ignore[reportMissingTypeStubs]  # typed in its source, without a py.typed


def nested(name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Awaitable[Any]:
    """Call `work` as a LangGraph task of its own, inside the current one."""
    return cast("Awaitable[Any]", named_task(work, name)())


def named_task(work: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Callable[[], Any]:
    """Return `work` as a LangGraph task called `name`."""
    return cast("Callable[[], Any]", task(name=name)(work))


def current_task_id() -> str:
    """Return the id that LangGraph gave the task that runs now; its writes are acknowledged under it."""
    return str(get_config().get("configurable", {})["__pregel_task_id"])
