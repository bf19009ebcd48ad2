"""What starting in the background, keeping a record and telling events add to a run of three steps in one process."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.three_steps import PLAN, catalog
from benchmarks.worker import in_turns
from goalgraph import open_planner
from planner import NodePlanner, PlannerService
from planner.events import ExecutionEvent

RUNS, QUICK_RUNS = 300, 60
REPEATS = 3
EVENTS = 8
"""Of a run of three steps: its start and end, and those of each step."""
LIMIT = 60.0
PLACES = ("no store", "both stores")
EXECUTE, BACKGROUND, HEARD = "execute", "execute_background", "execute, with a listener"


def measure(where: str, runs: int) -> dict[str, float]:
    """Return milliseconds a run of each way to run a plan, one after the other: the median of `runs`, in turns."""
    return asyncio.run(_measure(where, runs))


async def _measure(where: str, runs: int) -> dict[str, float]:
    async with AsyncExitStack() as exits:
        if where == "no store":
            service = PlannerService(catalog())
            exits.push_async_callback(service.aclose)
            planner = NodePlanner(service)
        else:
            planner = await exits.enter_async_context(open_planner(catalog=catalog(), data_dir=Path.cwd() / "data"))
        ways = _ways(planner)
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(10):
            for way in ways.values():
                await way()
        gc.collect()
        gc.freeze()
        for _ in range(runs):
            for name, way in ways.items():
                began = time.perf_counter()
                await way()
                took[name].append(time.perf_counter() - began)
        return {name: 1000 * median(several) for name, several in took.items()}


def _ways(planner: NodePlanner) -> dict[str, Callable[[], Awaitable[Any]]]:
    heard = 0

    async def execute() -> None:
        (await planner.execute_plan(PLAN)).raise_for_failure()

    async def background() -> None:
        (await (await planner.execute_background(PLAN)).wait()).raise_for_failure()

    async def listening() -> None:
        nonlocal heard
        before = heard

        def listen(_: ExecutionEvent) -> None:
            nonlocal heard
            heard += 1

        (await planner.execute_plan(PLAN, on_event=listen)).raise_for_failure()
        if heard - before != EVENTS:
            raise Unmeasured(f"heard {heard - before} of {EVENTS} events")

    return {EXECUTE: execute, BACKGROUND: background, HEARD: listening}


def run(*, quick: bool = False, runs: int | None = None) -> list[Row]:
    """Measure with and without stores, each in processes of its own."""
    count = runs or (QUICK_RUNS if quick else RUNS)
    found, reasons = in_turns(PLACES, 1 if quick else REPEATS, "handles:measure", count, limit=LIMIT)

    def figure(where: str, of: Callable[[Any], float]) -> Figure:
        return reasons.get(where) or round(median(of(repeat) for repeat in found[where]), 3)

    rows: list[Row] = []
    for where in PLACES:
        for name in (EXECUTE, BACKGROUND):
            value = figure(where, lambda each, name=name: each[name])
            rows.append(Row(what=f"{where}, {name}", value=value, unit="ms a run"))
        handle = figure(where, lambda each: each[BACKGROUND] - each[EXECUTE])
        event = figure(where, lambda each: 1000 * (each[HEARD] - each[EXECUTE]) / EVENTS)
        rows.append(Row(what=f"{where}: what a handle adds", value=handle, unit="ms a run"))
        rows.append(Row(what=f"{where}: what a listener adds", value=event, unit="µs an event"))
    return rows
