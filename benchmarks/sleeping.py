"""Four hundred runs at once that sleep ten seconds, in one process: its memory, its threads, and how late they end."""

import asyncio
import gc
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.rows import Figure, Row
from benchmarks.run_systems import load, second_database
from benchmarks.worker import in_turns
from goalgraph import open_planner
from planner.catalog import ActionCatalog, action
from planner.plan import CandidatePlan
from storage.dual.storage import PATIENCE
from storage.embedded import DataDirectory, open_redis

RUNS, SECONDS = 400, 10.0
QUICK_RUNS, QUICK_SECONDS = 100, 1.5
LIMIT = 90.0
OURS, DRAMATIQ, ASYNCIO = "ours", "dramatiq alone", "asyncio"
NAMES = (OURS, DRAMATIQ, ASYNCIO)
Facts = dict[str, float]


def status(name: str) -> float:
    """Return what Linux says of this process: `VmRSS` in MB, or `Threads`."""
    found = re.search(rf"^{name}:\s*(\d+)( kB)?", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise AssertionError(name)
    return int(found[1]) / 1000 if found[2] else int(found[1])


def measure(system: str, runs: int, seconds: float) -> Facts:
    """Return the facts of one system."""
    return asyncio.run({OURS: _ours, DRAMATIQ: _dramatiq, ASYNCIO: _asyncio}[system](runs, seconds))


async def _watched(run: Callable[[], Awaitable[list[float]]], seconds: float) -> Facts:
    """Look at the process before, and while all sleep."""
    gc.collect()
    before = status("VmRSS")
    running = asyncio.ensure_future(run())
    await asyncio.sleep(0.8 * seconds)
    during = {"memory": status("VmRSS"), "more": status("VmRSS") - before, "threads": status("Threads")}
    cuts = quantiles((1000 * (took - seconds) for took in await running), n=100)
    return {**during, "p50": cuts[49], "p99": cuts[98]}


async def _ours(runs: int, seconds: float) -> Facts:
    @action
    async def doze(seconds: float) -> int:
        """Sleep."""
        await asyncio.sleep(seconds)
        return 1

    def sleeping(seconds: float) -> CandidatePlan:
        return CandidatePlan.from_dict({"steps": [{"id": "a", "action": "doze", "inputs": {"seconds": seconds}}]})

    plan = sleeping(seconds)
    async with open_planner(catalog=ActionCatalog([doze]), data_dir=Path.cwd() / "data") as planner:
        (await planner.execute_plan(sleeping(0.0))).raise_for_failure()
        await asyncio.sleep(2 * PATIENCE)  # until the archive inside the process is open: it takes more than the runs

        async def one() -> float:
            began = time.perf_counter()
            handle = await planner.execute_background(plan)
            (await handle.wait()).raise_for_failure()
            return time.perf_counter() - began

        return await _watched(lambda: asyncio.gather(*(one() for _ in range(runs))), seconds)


async def _asyncio(runs: int, seconds: float) -> Facts:
    async def one() -> float:
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        return time.perf_counter() - began

    return await _watched(lambda: asyncio.gather(*(one() for _ in range(runs))), seconds)


async def _dramatiq(runs: int, seconds: float) -> Facts:
    dramatiq = load("dramatiq")
    brokers, middleware = load("dramatiq.brokers.redis"), load("dramatiq.middleware")
    async with open_redis(DataDirectory(Path.cwd() / "data")) as url:
        broker = brokers.RedisBroker(url=second_database(url), middleware=[middleware.AsyncIO()])
        took: list[float] = []

        async def doze(began: float) -> None:
            await asyncio.sleep(seconds)
            took.append(time.time() - began)

        actor: Any = dramatiq.Actor(
            load("dramatiq.asyncio").async_to_sync(doze), broker=broker, actor_name="doze",
            queue_name="default", priority=0, options={},
        )  # fmt: skip
        worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=runs)
        worker.start()

        async def run() -> list[float]:
            def send() -> None:
                for _ in range(runs):
                    actor.send(time.time())

            await asyncio.to_thread(send)
            while len(took) < runs:  # noqa: ASYNC110 - another thread fills it
                await asyncio.sleep(0.02)
            return took

        try:
            return await _watched(run, seconds)
        finally:
            await asyncio.to_thread(worker.stop)
            await asyncio.to_thread(broker.close)


def run(*, quick: bool = False, systems: Sequence[str] = NAMES) -> list[Row]:
    """Measure each system in processes of its own."""
    runs, seconds = (QUICK_RUNS, QUICK_SECONDS) if quick else (RUNS, SECONDS)
    found, reasons = in_turns(systems, 1 if quick else 3, "sleeping:measure", runs, seconds, limit=LIMIT)

    def figure(name: str, fact: str) -> Figure:
        return reasons.get(name) or round(median(repeat[fact] for repeat in found[name]), 1)

    def row(what: str, fact: str, unit: str) -> Row:
        peers = {name: figure(name, fact) for name in found if name != OURS}
        return Row(what=f"{runs} runs, {seconds:g} s: {what}", value=figure(OURS, fact), unit=unit, peers=peers)

    return [
        row("memory of the process", "memory", "MB"),
        row("of that, the runs", "more", "MB"),
        row("threads", "threads", ""),
        row("late, p50", "p50", "ms"),
        row("late, p99", "p99", "ms"),
    ]
