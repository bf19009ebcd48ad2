"""Calling many tasks in one fixed order, with only so many of them open at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langgraph.errors import GraphInterrupt


class Window:
    """At most `size` unfinished calls: what LangGraph does for each grows with how many are open."""

    def __init__(self, size: int) -> None:
        self._places = asyncio.Semaphore(size)

    async def gather(
        self,
        calls: Sequence[Callable[[], Awaitable[Any]]],
        on_result: Callable[[Any], None],
        broken: Callable[[], BaseException | None],
    ) -> list[Any]:
        """Make all calls in their order and return their results in that order.

        Raises:
            GraphInterrupt: some ask a person; it holds all their questions.
            BaseException: what the first that failed raised, or what `broken` returns before the last call is made.
        """
        futures: list[asyncio.Future[Any]] = []
        for call in calls:
            await self.enter()
            if (error := broken()) is not None:
                raise error
            future = asyncio.ensure_future(call())
            future.add_done_callback(self.leave)
            future.add_done_callback(lambda done: on_result(done.result()) if _succeeded(done) else None)
            futures.append(future)
        if futures:
            await asyncio.wait(futures)
        errors = [error for future in futures if (error := future.exception()) is not None]
        if not errors:
            return [future.result() for future in futures]
        other = next((error for error in errors if not isinstance(error, GraphInterrupt)), None)
        if other is not None:
            raise other
        raise GraphInterrupt([one for error in errors for one in (error.args[0] if error.args else ())])

    async def enter(self) -> None:
        """Wait for a place."""
        await self._places.acquire()

    def leave(self, _: object = None) -> None:
        """Give a place back."""
        self._places.release()


def _succeeded(future: asyncio.Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None
