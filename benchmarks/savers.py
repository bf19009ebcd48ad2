"""What a saver's calls take: `put`, `put_writes` and `get_tuple` of growing conversations, one and many at a time."""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median, quantiles
from typing import Any

from benchmarks.conversation import Conversation
from benchmarks.rows import Figure, Row
from benchmarks.saver_systems import MEMORY, OURS, SAVERS, SYNC, settle
from benchmarks.servers import Places, peers
from benchmarks.worker import in_turns

Cell = tuple[str, int, int]
"""`async` or `sync`, conversations at once, steps of each."""
CELLS: Sequence[Cell] = (("async", 1, 200), ("async", 32, 40), ("sync", 32, 40))
QUICK_CELLS: Sequence[Cell] = (("async", 1, 40), ("async", 32, 6), ("sync", 32, 6))
REPEATS = 3
LIMIT = 120.0
"""Seconds for one system in one repetition."""
CALLS = ("put", "put_writes", "get_tuple")

Times = dict[str, list[float]]
"""Call → seconds of each."""


async def converse(talk: Conversation, times: Times) -> None:
    """Store and read each step of one conversation."""
    saver = talk.saver
    for turn in talk.turns():
        began = time.perf_counter()
        talk.parent = await saver.aput(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
        put = time.perf_counter()
        await saver.aput_writes(talk.parent, turn.writes, turn.task)
        wrote = time.perf_counter()
        found = await saver.aget_tuple(talk.newest)
        read = time.perf_counter()
        for call, took in zip(CALLS, (put - began, wrote - put, read - wrote), strict=True):
            times[call].append(took)
        talk.check(found)


def converse_sync(talk: Conversation, times: Times) -> None:
    """As `converse`, from a thread."""
    saver = talk.saver
    for turn in talk.turns():
        began = time.perf_counter()
        talk.parent = saver.put(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
        put = time.perf_counter()
        saver.put_writes(talk.parent, turn.writes, turn.task)
        wrote = time.perf_counter()
        found = saver.get_tuple(talk.newest)
        read = time.perf_counter()
        for call, took in zip(CALLS, (put - began, wrote - put, read - wrote), strict=True):
            times[call].append(took)
        talk.check(found)


async def timed(saver: Any, at_once: int, steps: int) -> dict[str, float]:
    """Return the figures of one cell, after a conversation that warms it up."""
    await converse(Conversation(saver, steps=3), _times())
    await settle(saver)
    times = _times()
    talks = [Conversation(saver, number, steps) for number in range(at_once)]
    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*(converse(talk, times) for talk in talks))
    return figures(times, at_once * steps, time.perf_counter() - began)


def timed_sync(saver: Any, at_once: int, steps: int) -> dict[str, float]:
    """As `timed`, with a thread for each conversation."""
    converse_sync(Conversation(saver, steps=3), _times())
    asyncio.run(settle(saver))
    times = _times()
    talks = [Conversation(saver, number, steps) for number in range(at_once)]
    gc.collect()
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        for done in [threads.submit(converse_sync, talk, times) for talk in talks]:
            done.result()
    return figures(times, at_once * steps, time.perf_counter() - began)


def figures(times: Times, steps: int, seconds: float) -> dict[str, float]:
    """Return steps a second, and milliseconds: the median and the 99th percentile of each call."""
    found = {"steps": steps / seconds}
    for call in CALLS:
        found[f"{call} p50"] = 1000 * median(times[call])
        found[f"{call} p99"] = 1000 * quantiles(times[call], n=100)[98]
    return found


def measure(system: str, places: Places, cells: Sequence[Cell]) -> list[dict[str, float]]:
    """Return the figures of each cell; the saver is opened anew for each."""

    async def asynchronous(at_once: int, steps: int) -> dict[str, float]:
        async with SAVERS[system](places) as saver:
            return await timed(saver, at_once, steps)

    def synchronous(at_once: int, steps: int) -> dict[str, float]:
        with SYNC[system](places) as saver:
            return timed_sync(saver, at_once, steps)

    return [
        synchronous(at_once, steps) if half == "sync" else asyncio.run(asynchronous(at_once, steps))
        for half, at_once, steps in cells
    ]


def _times() -> Times:
    return {call: [] for call in CALLS}


def run(
    *,
    quick: bool = False,
    cells: Sequence[Cell] | None = None,
    systems: Sequence[str] = tuple(SAVERS),
    places: Places | None = None,
) -> list[Row]:
    """Measure each system in a process of its own; they take turns."""
    chosen = cells or (QUICK_CELLS if quick else CELLS)
    if places is None:
        with peers() as started:
            return run(quick=quick, cells=chosen, systems=systems, places=started)
    repeats = 1 if quick else REPEATS
    found, reasons = in_turns(systems, repeats, "savers:measure", places, chosen, limit=LIMIT)
    return [row for at, cell in enumerate(chosen) for row in rows(at, cell, found, reasons)]


def rows(
    at: int, cell: Cell, found: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], reasons: Mapping[str, str]
) -> list[Row]:
    """Return the lines of one cell."""
    half, at_once, _ = cell
    others = [name for name in found if name != OURS]
    words = f"{at_once} threads, sync" if half == "sync" else f"{at_once} task{'s' if at_once > 1 else ''}"

    def figure(name: str, key: str) -> Figure:
        if name in reasons:
            return reasons[name]
        return float(f"{median(repeat[at][key] for repeat in found[name]):.4g}")

    def line(key: str, unit: str) -> Row:
        figures = {name: figure(name, key) for name in others}
        return Row(what=f"{words}: {key}", value=figure(OURS, key), unit=unit, peers=figures)

    lines = [line(f"{call} {which}", "ms") for call in CALLS for which in ("p50", "p99")]
    steps = line("steps", "a second")

    def share(name: str) -> Figure:
        """Return the median over the repetitions, in which both were measured one soon after the other."""
        if MEMORY in reasons or name in reasons:
            return reasons.get(name, reasons.get(MEMORY, ""))
        pairs = zip(found[name], found[MEMORY], strict=True)
        return round(median(own[at]["steps"] / other[at]["steps"] for own, other in pairs), 3)

    goal = "≥ 0.4" if (half, at_once) == ("async", 32) else ""
    shares = {name: share(name) for name in others if name != MEMORY}
    return [
        *lines,
        steps,
        Row(what=f"{words}: steps/s of {MEMORY}", value=share(OURS), unit="×", goal=goal, peers=shares),
    ]
