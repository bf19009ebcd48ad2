"""Events of one run: numbered as they happen, told in order, without holding up the run."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from planner.events import ExecutionEvent, ExecutionEventCallback, ExecutionPhase, emit
from planner.execution.secrets import without
from planner.limits import Limits

logger = logging.getLogger("goalgraph")

ERROR_PHASES: frozenset[ExecutionPhase] = frozenset({"step_failure", "failure", "cancelled", "compensation_failure"})


class Publisher:
    """Numbers the events of a run and tells its log and one listener; a slow one delays only the end of the run."""

    def __init__(
        self, run_id: str, listener: ExecutionEventCallback | None, limits: Limits, secrets: Mapping[str, str]
    ) -> None:
        """`limits.events` bounds progress reports: more are dropped; `secrets` are taken out of every text."""
        self.errors: list[ExecutionEvent] = []
        self._run_id = run_id
        self._listener = listener
        self._limits = limits
        self._secrets = secrets
        self.log: Callable[[ExecutionEvent], None] | None = None
        """Takes each event at once, without waiting; set once the run is recorded."""
        self.count = 0
        """Events so far, told or not."""
        self._full = False
        self._queue: asyncio.Queue[ExecutionEvent | None] = asyncio.Queue()
        self._teller = asyncio.create_task(self._tell()) if listener is not None else None

    def publish(self, phase: ExecutionPhase, step_id: str | None = None, **facts: Any) -> None:
        """Record that something happened now."""
        if phase == "step_progress" and self.count >= self._limits.events:
            if not self._full:
                bound = self._limits.events
                logger.warning("run %s met the limit 'events' of %d; progress is no longer told", self._run_id, bound)
            self._full = True
            return
        self.count += 1
        if self._listener is None and self.log is None and phase not in ERROR_PHASES:
            return
        known = {name: without(fact, self._secrets) for name, fact in facts.items()}
        event = ExecutionEvent(phase, step_id, seq=self.count, run_id=self._run_id, time=datetime.now(UTC), **known)
        if phase in ERROR_PHASES:
            self.errors.append(event)
        if self.log is not None:
            self.log(event)
        if self._teller is not None:
            self._queue.put_nowait(event)

    async def close(self) -> None:
        """Wait until everything has been told, but not for ever."""
        if self._teller is None:
            return
        self._queue.put_nowait(None)
        done, _ = await asyncio.wait({self._teller}, timeout=self._limits.grace.total_seconds())
        if not done:
            logger.warning("run %s: its listener did not take all events in time", self._run_id)
            self._teller.cancel()
            await asyncio.wait({self._teller}, timeout=1)

    async def _tell(self) -> None:
        while (event := await self._queue.get()) is not None:
            await emit(self._listener, event)
