"""Waiting for what another process does, of which no event reaches this one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
SECONDS = 20.0
"""More than anything takes that a test waits for."""
LOOK_EVERY = 0.02


async def eventually(look: Callable[[], Awaitable[T]], what: str, *, seconds: float = SECONDS) -> T:
    """Ask `look` again and again, and return its first answer that is true.

    Raises:
        AssertionError: none was within `seconds`; it says `what` did not happen, and the last answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        answer = await look()
        if answer:
            return answer
        assert loop.time() < deadline, f"{what}: not within {seconds:g} s; last seen: {answer!r}"
        again = asyncio.Event()
        loop.call_later(LOOK_EVERY, again.set)
        await again.wait()
