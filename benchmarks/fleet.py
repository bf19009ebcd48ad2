"""Several worker processes at once: all are made ready, then they take up the runs that wait, and say when."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.rows import Unmeasured
from benchmarks.run_systems import SYSTEMS
from benchmarks.three_steps import ARRIVED
from benchmarks.worker import Worker

POLL = 0.05
"""Seconds."""


def serve(system: str, place: str, name: str, slots: int) -> dict[str, Any]:
    """In a worker: open the system, warm it up, and take runs up between the files `go` and `stop` of `place`."""
    return asyncio.run(_serve(system, Path(place), name, slots))


async def _serve(system: str, place: Path, name: str, slots: int) -> dict[str, Any]:
    began: list[float] = []
    ended: list[float] = []
    arrived: dict[str, float] = {}
    sign = os.open(place / f"ended-{name}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(run_id: str) -> Callable[[], None]:
        began.append(time.time())
        here = False

        def first_step() -> None:
            nonlocal here
            here = True
            arrived.setdefault(run_id, time.time())

        def over() -> None:
            if here:  # and not one that was somebody else's already: it may be handed over twice
                ended.append(time.time())
                os.write(sign, b".")  # whoever waits for all of them looks at the sizes of these files

        ARRIVED.set(first_step)
        return over

    try:
        async with SYSTEMS[system].worker(place, slots) as take_up:
            gc.collect()
            gc.freeze()  # as `goalgraph worker` does: all systems have the same imports
            (place / f"ready-{name}").touch()
            await seen(place / "go")
            async with take_up(note):
                await seen(place / "stop")
    finally:
        os.close(sign)
    facts = {
        "began": min(began, default=0.0),
        "ended": max(ended, default=0.0),
        "runs": len(ended),
        "taken": len(began),
    }
    return {**facts, "arrived": arrived}


async def seen(path: Path) -> None:
    """Return when a file is there; the worker of one that never comes is ended by its caller."""
    while not await asyncio.to_thread(path.exists):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(POLL)


@asynccontextmanager
async def fleet(
    system: str, place: Path, *, workers: int, slots: int, limit: float
) -> AsyncGenerator[Callable[[int], Coroutine[Any, Any, Sequence[Mapping[str, Any]]]]]:
    """Start workers and wait until they are ready.

    Yields:
        Has so many runs taken up, and returns what each worker says when they have ended.

    Raises:
        Unmeasured: a worker was not ready, or the runs had not ended, within `limit` seconds.
    """
    children = [Worker() for _ in range(workers)]
    names = [f"{system.replace(' ', '-')}-{at}" for at in range(workers)]
    calls = [
        asyncio.create_task(
            asyncio.to_thread(child.call, "fleet:serve", system, str(place), name, slots, limit=2 * limit)
        )
        for child, name in zip(children, names, strict=True)
    ]

    async def go(runs: int) -> Sequence[Mapping[str, Any]]:
        (place / "go").touch()
        await _until(lambda: sum((place / f"ended-{name}").stat().st_size for name in names) >= runs, calls, limit)
        (place / "stop").touch()
        return await asyncio.gather(*calls)

    try:
        await _until(lambda: all((place / f"ready-{name}").exists() for name in names), calls, limit)
        yield go
    finally:
        (place / "go").touch()
        (place / "stop").touch()
        await asyncio.wait(calls, timeout=limit)
        for child in children:
            await asyncio.to_thread(child.close)
        await asyncio.gather(*calls, return_exceptions=True)


async def _until(done: Callable[[], bool], calls: Sequence[asyncio.Task[Any]], limit: float) -> None:
    deadline = time.monotonic() + limit
    while not done():
        for call in calls:
            if call.done():
                call.result()
                raise Unmeasured("a worker ended")
        if time.monotonic() > deadline:
            raise Unmeasured(f"over {limit:g} s")
        await asyncio.sleep(POLL)
