"""How many actions work at the same time, and which of the waiting goes next."""

import asyncio
import heapq
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakKeyDictionary

from aiolimiter import AsyncLimiter

from planner.catalog import ActionSpec


class PriorityGate:
    """Lets `capacity` through at a time; among those that wait, the lowest priority first, then the earliest.

    It stays shut until `open()`, so that steps that are ready together are compared before the first one starts.
    """

    def __init__(self, capacity: int, *, is_open: bool = True) -> None:
        self._free = capacity
        self._open = is_open
        self._shut = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0
        self._scheduled = False

    def open(self) -> None:
        """Begin to let through."""
        self._open = not self._shut
        self._schedule()

    def shut(self) -> None:
        """Let nobody through any more."""
        self._open, self._shut = False, True

    @asynccontextmanager
    async def hold(self, priority: int) -> AsyncGenerator[None]:
        """Wait for a place and keep it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (priority, self._arrivals, turn))
        self._schedule()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was given in the same moment
                self._release()
            raise
        try:
            yield
        finally:
            self._release()

    def _release(self) -> None:
        self._free += 1
        self._schedule()

    def _schedule(self) -> None:
        """Decide in the next turn of the loop, when everybody who becomes ready in this one has arrived."""
        if not self._scheduled and self._open and self._waiting and self._free:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._open and self._waiting and self._free:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)


class Gates:
    """The limits on one run: over all its actions, and for each action that declares one."""

    def __init__(self, concurrency: int, rates: "Rates", stopping: asyncio.Event) -> None:
        """`stopping` ends the wait for a rate, which may be long; who is let in then sees that the run stops."""
        self.run = PriorityGate(concurrency, is_open=False)
        self._rates = rates
        self._stopping = stopping
        self._actions: dict[str, PriorityGate] = {}

    @asynccontextmanager
    async def hold(self, spec: ActionSpec, priority: int) -> AsyncGenerator[None]:
        """Wait until one call of `spec` may start; the action's own limit first, so that it keeps nobody else out."""
        limit = spec.policy.max_concurrency
        if limit is None and spec.policy.rate is None:
            async with self.run.hold(priority):
                yield
            return
        async with AsyncExitStack() as held:
            if limit is not None:
                gate = self._actions.setdefault(spec.ref, PriorityGate(limit))
                await held.enter_async_context(gate.hold(priority))
            await self._rates.wait(spec, self._stopping)
            await held.enter_async_context(self.run.hold(priority))
            yield


class Rates:
    """How often an action may be called, over all runs of one executor in one event loop."""

    def __init__(self) -> None:
        # a limiter belongs to one event loop
        self._limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncLimiter]] = WeakKeyDictionary()

    async def wait(self, spec: ActionSpec, stopping: asyncio.Event) -> None:
        """Wait until the rate of `spec` allows another call, or `stopping` is set."""
        rate = spec.policy.rate
        if rate is None:
            return
        limiters = self._limiters.setdefault(asyncio.get_running_loop(), {})
        limiter = limiters.get(spec.ref)
        if limiter is None:
            slow = min(1.0, rate.calls)  # the limiter wants room for one call at least
            limiter = limiters[spec.ref] = AsyncLimiter(rate.calls / slow, rate.per / slow)
        if limiter.has_capacity() and not stopping.is_set():
            await limiter.acquire()
            return
        waits = {asyncio.create_task(limiter.acquire()), asyncio.create_task(stopping.wait())}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in waits:
                one.cancel()
            await asyncio.wait(waits)
