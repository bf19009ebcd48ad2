"""Calling many tasks in one fixed order, with only so many of them open at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any


class Window:
    """At most `size` unfinished calls: what LangGraph does for each grows with how many are open."""

    def __init__(self, size: int) -> None:
        self._places = asyncio.Semaphore(size)

    async def gather(
        self, calls: Sequence[Callable[[], Awaitable[Any]]], on_result: Callable[[Any], None] | None = None
    ) -> list[Any]:
        """Make all calls in their order and return their results in that order.

        When some fail, the others are waited for, then the first failure is raised.
        """
        futures: list[asyncio.Future[Any]] = []
        for call in calls:
            await self.enter()
            future = asyncio.ensure_future(call())
            future.add_done_callback(self.leave)
            if on_result is not None:
                future.add_done_callback(lambda done: on_result(done.result()) if _succeeded(done) else None)
            futures.append(future)
        if futures:
            await asyncio.wait(futures)
        return [future.result() for future in futures]

    async def enter(self) -> None:
        """Wait for a place."""
        await self._places.acquire()

    def leave(self, _: object = None) -> None:
        """Give a place back."""
        self._places.release()


def _succeeded(future: asyncio.Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None
