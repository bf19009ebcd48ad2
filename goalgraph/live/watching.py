"""Watching a run through its handle: in a notebook, on a terminal, or as lines."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from time import monotonic

from goalgraph.live.notebook import NotebookPicture, in_notebook
from goalgraph.live.states import LiveRun
from goalgraph.live.terminal import people
from goalgraph.live.view import RunProgress
from planner.events import ExecutionEvent
from planner.execution import ExecutionResult, RunEvent
from planner.plan import CandidatePlan
from planner.runs import BackgroundExecutionHandle
from planner.runs.following import as_told
from storage.errors import StorageUnavailable
from storage.runs import ENDS

Follow = Callable[[int], AsyncIterator[RunEvent]]
"""Follows a run from a `seq`: `handle.events(after=seq)`."""
REFRESH = 0.25
"""Seconds between two pictures in a notebook."""
LATE = 5.0
"""Seconds in which the last events are read, once the result is there."""
PATIENCE, PAUSE = 60.0, 0.5
"""Seconds for which a store may not answer before following is given up, and between two tries."""


async def watch(handle: BackgroundExecutionHandle) -> ExecutionResult:
    """Show a run, whichever process it is in, until it has ended or waits for a person; return its result then.

    In a notebook the plan's picture is updated in its place; elsewhere it is shown on stderr. Stopping this does not
    stop the run.

    Args:
        handle: Of the run; `await planner.get_run(id)` gives one in any process.

    Raises:
        RunNotFound: the run is not there any more.
    """
    record = await handle.refresh()
    plan = CandidatePlan.from_dict(record.plan)
    if not in_notebook():
        with RunProgress(plan, people(), lambda question: f"await handle.answer(…, {question.id!r})") as progress:
            return await shown_until(lambda after: handle.events(after=after), progress, handle.wait(), progress.run)
    picture = NotebookPicture(plan)
    refreshing = asyncio.create_task(_refresh(picture))
    try:
        return await shown_until(lambda after: handle.events(after=after), picture, handle.wait(), picture.run)
    finally:
        refreshing.cancel()
        await asyncio.wait({refreshing})
        picture.refresh()


async def followed(follow: Follow, after: int = 0) -> AsyncIterator[RunEvent]:
    """Follow a run until it has ended, also while its store does not answer for a while.

    Raises:
        RunNotFound: there is no such run.
        StorageUnavailable: the store has not answered for `PATIENCE` seconds.
    """
    heard = monotonic()
    while True:
        try:
            async for event in follow(after):
                after, heard = event.seq, monotonic()
                yield event
        except StorageUnavailable:
            if monotonic() - heard > PATIENCE:
                raise
            await asyncio.sleep(PAUSE)
        else:
            return


async def shown_until(
    follow: Follow, show: Callable[[ExecutionEvent], None], result: Awaitable[ExecutionResult], run: LiveRun
) -> ExecutionResult:
    """Show the events of a run while its result is awaited, and those that are left when it is there.

    Args:
        follow: Follows the run.
        show: Takes each event that `run` has not taken.
        result: Of the run, when it has ended or waits.
        run: What `show` brings up to date.
    """
    changed = asyncio.Event()

    async def pass_on() -> None:
        async for event in followed(follow, run.seq):
            show(as_told(event))
            changed.set()

    following = asyncio.create_task(pass_on())
    try:
        found = await result
        with suppress(TimeoutError, StorageUnavailable):  # the result counts, whether or not all of it was shown
            async with asyncio.timeout(LATE):
                if found.status in ENDS:
                    await following
                while found.status == "waiting" and not {one.id for one in found.interrupts} <= run.questions.keys():
                    changed.clear()
                    await changed.wait()
        return found
    finally:
        following.cancel()
        await asyncio.wait({following})


async def _refresh(picture: NotebookPicture) -> None:
    """Draw again and again while something changes; what goes on takes longer even when nothing happens."""
    while True:
        await asyncio.sleep(REFRESH)
        picture.refresh()
