"""What a step costs beyond its own work, and how long the event loop stands still meanwhile."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.systems import SYSTEMS, Step
from benchmarks.worker import Worker

SIZES = (10, 100, 1_000, 10_000)
QUICK_SIZES = (10, 100)
REPEATS = {10: 30, 100: 10, 1_000: 3, 10_000: 1}
LIMIT, QUICK_LIMIT = 30.0, 10.0
"""Seconds for one cell; one that takes longer is ended, and the table says so."""
BEAT = 0.002
"""Seconds between two beats of the heart that notices stalls."""


def chain(size: int) -> list[Step]:
    """Return steps that each wait for the one before."""
    return [Step(f"s{at}", (f"s{at - 1}",) if at else ()) for at in range(size)]


def fan(size: int) -> list[Step]:
    """Return one step, all others but one after it, and one after all of these."""
    middle = [Step(f"s{at}", ("first",)) for at in range(size - 2)]
    return [Step("first"), *middle, Step("last", tuple(step.id for step in middle))]


SHAPES: dict[str, Callable[[int], list[Step]]] = {"chain": chain, "fan": fan}


async def timed(run: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return the seconds that `run` takes, and the longest time for which nothing else had its turn."""
    longest = 0.0

    async def heart() -> None:
        nonlocal longest
        before = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT)
            now = time.perf_counter()
            longest, before = max(longest, now - before - BEAT), now

    beating = asyncio.create_task(heart())
    await asyncio.sleep(2 * BEAT)
    longest = 0.0
    began = time.perf_counter()
    await run()
    took = time.perf_counter() - began
    await asyncio.sleep(0)  # a run that never let go: its end is the first beat
    await asyncio.sleep(BEAT)
    beating.cancel()
    return took, longest


def measure(system: str, shape: str, size: int, repeats: int) -> dict[str, float]:
    """Return milliseconds: to prepare (compile, parse), a step (median of the runs), and of the longest stall."""

    async def cell() -> dict[str, float]:
        await SYSTEMS[system](chain(2))()
        gc.collect()
        began = time.perf_counter()
        run = SYSTEMS[system](SHAPES[shape](size))
        prepared = time.perf_counter() - began
        runs = [await timed(run) for _ in range(repeats)]
        return {
            "prepare": 1000 * prepared,
            "step": 1000 * median(took for took, _ in runs) / size,
            "stall": 1000 * median(stall for _, stall in runs),
        }

    return asyncio.run(cell())


def first(system: str) -> float:
    """Return the milliseconds of the first run of ten steps in a fresh process, without the imports."""
    prepared = SYSTEMS[system](chain(10))
    began = time.perf_counter()
    asyncio.run(await_(prepared))
    return round(1000 * (time.perf_counter() - began), 1)


async def await_(run: Callable[[], Awaitable[None]]) -> None:
    """Make a coroutine of any awaitable."""
    await run()


Cells = Mapping[tuple[str, str, int], dict[str, float] | str]
"""Figures, or why there are none, by system, shape and size."""


def run(*, quick: bool = False, sizes: Sequence[int] | None = None) -> list[Row]:
    """Measure each system in a process of its own, one at a time."""
    chosen = sizes or (QUICK_SIZES if quick else SIZES)
    limit = QUICK_LIMIT if quick else LIMIT
    cells: dict[tuple[str, str, int], dict[str, float] | str] = {}
    starts: dict[str, Figure] = {}
    for system in SYSTEMS:
        with Worker() as worker:
            starts[system] = call(worker, "overhead:first", system, limit=limit)
            for shape in SHAPES:
                measure_sizes(worker, system, shape, chosen, limit, cells)
    rows = [line for shape in SHAPES for size in chosen for line in lines(cells, shape, size)]
    return [*rows, start_row(starts)]


def measure_sizes(
    worker: Worker,
    system: str,
    shape: str,
    sizes: Sequence[int],
    limit: float,
    cells: dict[tuple[str, str, int], dict[str, float] | str],
) -> None:
    """Fill the cells of one system and shape, the small sizes first; what cannot end in time is not begun."""
    last, seconds = sizes[0], 0.0
    for size in sizes:
        expected = seconds * size / last  # at best a run is linear
        if expected > limit:
            cells[system, shape, size] = f"skipped, at least {expected:.0f} s"
            continue
        repeats = REPEATS.get(size, 1)
        began = time.perf_counter()
        cells[system, shape, size] = call(worker, "overhead:measure", system, shape, size, repeats, limit=limit)
        last, seconds = size, (time.perf_counter() - began) / repeats


def call(worker: Worker, function: str, *arguments: Any, limit: float) -> Any:
    """Return the answer, or in words why there is none."""
    try:
        return worker.call(function, *arguments, limit=limit)
    except Unmeasured as error:
        return str(error)


def lines(cells: Cells, shape: str, size: int) -> list[Row]:
    """Return the rows of one shape and size: overhead and stall, without and with a saver, and the time to prepare."""
    rows: list[Row] = []

    def figure(system: str, key: str) -> Figure:
        cell = cells[system, shape, size]
        return cell if isinstance(cell, str) else round(cell[key], 4 if key == "step" else 1)

    def row(what: str, key: str, saver: str, unit: str, goal: str = "") -> Row:
        peers = {name: figure(name, key) for name in (f"StateGraph{saver}", "asyncio", "aethergraph")}
        peers["StateGraph"] = peers.pop(f"StateGraph{saver}")
        return Row(what=what, value=figure(f"goalgraph{saver}", key), unit=unit, goal=goal, peers=peers)

    for saver, words in (("", "no saver"), (", InMemorySaver", "InMemorySaver")):
        goal = "≤ 0.4" if size == 100 and not saver else ""
        rows.append(row(f"{shape} of {size:,}, {words}: overhead", "step", saver, "ms a step", goal))
        rows.append(row(f"{shape} of {size:,}, {words}: longest stall", "stall", saver, "ms"))
    rows.append(row(f"{shape} of {size:,}: to prepare, once", "prepare", "", "ms"))
    return rows


def start_row(starts: Mapping[str, Figure]) -> Row:
    """Return the line about the first run of a process."""
    peers = {name: starts[name] for name in ("StateGraph", "asyncio", "aethergraph")}
    return Row(what="first run in a process, chain of 10", value=starts["goalgraph"], unit="ms", peers=peers)
