"""Following a run from any process: its events in order, each once, until it has ended."""

import asyncio
from collections.abc import AsyncIterator

from planner.context import RequestIdentity
from planner.events import ExecutionEvent
from planner.execution import RunEvent, Runs

PAUSES = (0.02, 0.25)
"""Seconds between two looks: the first after something happened, doubled up to the last."""


async def follow(runs: Runs, run_id: str, identity: RequestIdentity, *, after: int = 0) -> AsyncIterator[RunEvent]:
    """Give the events of a run with `seq > after`, as they come, until the run has ended.

    Raises:
        RunNotFound: there is no such run for `identity`.
        StorageError: the store cannot be read now; go on with the last `seq`.
    """
    pause = PAUSES[0]
    while True:
        ended = (await runs.get(run_id, identity)).ended  # first: the last event is written together with the end
        events = await runs.events(run_id, identity, after=after)
        for event in events:
            after = event.seq
            yield event
        if ended:
            return
        pause = PAUSES[0] if events else min(2 * pause, PAUSES[1])
        await asyncio.sleep(pause)


def as_told(event: RunEvent) -> ExecutionEvent:
    """Return a stored event as listeners know it; the outputs of steps are not stored with it."""
    return ExecutionEvent(
        event.phase,
        event.step_id,
        message=event.message,
        error=event.error,
        seq=event.seq,
        run_id=event.run_id,
        time=event.at,
        attempt=event.attempt,
        progress=event.progress,
        details=dict(event.details),
    )
