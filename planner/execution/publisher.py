"""Events of one run: numbered as they happen, told in order, without holding up the run."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from planner.events import ExecutionEvent, ExecutionEventCallback, ExecutionPhase, emit

logger = logging.getLogger("goalgraph")

ERROR_PHASES: frozenset[ExecutionPhase] = frozenset({"step_failure", "failure", "cancelled", "compensation_failure"})


class Publisher:
    """Numbers the events of a run and tells one listener, in order; a slow listener delays only the end of the run."""

    def __init__(self, run_id: str, listener: ExecutionEventCallback | None, limit: int) -> None:
        """`limit` bounds progress reports: beyond it they are dropped, everything else is still told."""
        self.errors: list[ExecutionEvent] = []
        self._run_id = run_id
        self._listener = listener
        self._limit = limit
        self._count = 0
        self._queue: asyncio.Queue[ExecutionEvent | None] = asyncio.Queue()
        self._teller = asyncio.create_task(self._tell()) if listener is not None else None

    def publish(self, phase: ExecutionPhase, step_id: str | None = None, **facts: Any) -> None:
        """Record that something happened now."""
        if phase == "step_progress" and self._count >= self._limit:
            if self._count == self._limit:
                logger.warning(
                    "run %s met the limit 'events' of %d; progress is no longer told", self._run_id, self._limit
                )
            self._limit = -1
            return
        if self._listener is None and phase not in ERROR_PHASES:
            self._count += 1
            return
        self._count += 1
        event = ExecutionEvent(phase, step_id, **facts)
        event = replace(event, seq=self._count, run_id=self._run_id, time=datetime.now(UTC))
        if phase in ERROR_PHASES:
            self.errors.append(event)
        if self._teller is not None:
            self._queue.put_nowait(event)

    async def close(self) -> None:
        """Wait until everything has been told."""
        if self._teller is not None:
            self._queue.put_nowait(None)
            await self._teller

    async def _tell(self) -> None:
        while (event := await self._queue.get()) is not None:
            await emit(self._listener, event)
