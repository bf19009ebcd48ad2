"""Who is woken up to advance a run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

logger = logging.getLogger("goalgraph")

Advance = Callable[[str], Awaitable[None]]
"""Advances the run of an id until it has ended, waits, or is somebody else's; it raises nothing."""


class ExecutionEngine(Protocol):
    """A way to wake somebody up. It carries the id of a run and nothing else, and it may lose or repeat one.

    What makes runs safe is elsewhere: a lease says who may advance a run, and a sweeper finds what was lost.
    """

    @property
    def local(self) -> bool:
        """Whether runs that this process starts are advanced in this process."""
        ...

    async def start(self, advance: Advance) -> None:
        """Begin to take runs up. A process that only submits never calls it."""
        ...

    async def submit(self, run_id: str, delay: float = 0.0) -> None:
        """Have a run taken up, in `delay` seconds; returns when somebody will hear of it.

        Raises:
            Exception: whatever the engine's transport raises; the sweeper finds the run later.
        """
        ...

    async def stop(self) -> None:
        """Take up nothing more, and let go of everything; runs that are advanced now are somebody else's matter."""
        ...


class LocalEngine:
    """Advances runs as tasks of this process's event loop."""

    local = True

    def __init__(self) -> None:
        self._advance: Advance | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    async def start(self, advance: Advance) -> None:
        """Begin to take runs up."""
        self._advance = advance

    async def submit(self, run_id: str, delay: float = 0.0) -> None:
        """Have a run taken up; one that is submitted before `start` or after `stop` is left to the sweeper."""
        if self._advance is None:
            return
        if delay <= 0:
            self._begin(run_id)
            return
        timer = asyncio.get_running_loop().call_later(delay, lambda: (self._timers.discard(timer), self._begin(run_id)))
        self._timers.add(timer)

    async def stop(self) -> None:
        """Take up nothing more, and wait until what was taken up has been let go."""
        self._advance = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError:  # nobody waits any longer
            for task in self._tasks:
                task.cancel()
            raise

    def _begin(self, run_id: str) -> None:
        if self._advance is None:
            return

        async def work(advance: Advance) -> None:
            await advance(run_id)

        task = asyncio.create_task(work(self._advance), name=f"goalgraph-advance-{run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
