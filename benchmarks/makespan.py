"""How much longer than its critical path a plan takes, over random plans with heavy-tailed steps."""

import asyncio
import gc
import random
import time
from statistics import mean

from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.systems import SYSTEMS, Step
from benchmarks.worker import Worker

STEPS = 30
PLANS = 20
QUICK_PLANS = 2
LIMIT = 60.0
MEDIAN, SPREAD, SHORTEST, LONGEST = 0.05, 1.2, 0.02, 1.0
"""Of the log-normal sleeps, in seconds; a third is longer than 0.08 s, a hundredth met the upper bound."""


def random_steps(seed: int, size: int = STEPS) -> list[Step]:
    """Return steps that each wait for none to three of the eight before it."""
    rng = random.Random(seed)
    steps: list[Step] = []
    for at in range(size):
        near = [step.id for step in steps[-8:]]
        waits = rng.sample(near, min(len(near), rng.choices((0, 1, 2, 3), (2, 5, 3, 1))[0]))
        seconds = min(max(MEDIAN * rng.lognormvariate(0, SPREAD), SHORTEST), LONGEST)
        steps.append(Step(f"s{at}", tuple(waits), seconds))
    return steps


def critical_path(steps: list[Step]) -> float:
    """Return the length of the longest way through the steps, in seconds."""
    ends: dict[str, float] = {}
    for step in steps:
        ends[step.id] = step.seconds + max((ends[other] for other in step.waits), default=0.0)
    return max(ends.values())


def measure(system: str, seed: int, size: int) -> float:
    """Return makespan over critical path of one plan in one system, after a run that warms it up."""
    steps = random_steps(seed, size)

    async def timed() -> float:
        await SYSTEMS[system]([Step("warm")])()
        run = SYSTEMS[system](steps)
        gc.collect()
        began = time.perf_counter()
        await run()
        return time.perf_counter() - began

    return asyncio.run(timed()) / critical_path(steps)


def run(*, quick: bool = False, plans: int | None = None, size: int = STEPS) -> list[Row]:
    """Measure; the systems take turns on each plan, so that a busy minute hits all of them."""
    seeds = range(1, 1 + (plans or (QUICK_PLANS if quick else PLANS)))
    found: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    reasons: dict[str, str] = {}
    workers = {name: Worker() for name in SYSTEMS}
    try:
        for seed in seeds:
            for name in SYSTEMS:
                if name not in reasons:
                    try:
                        found[name].append(workers[name].call("makespan:measure", name, seed, size, limit=LIMIT))
                    except Unmeasured as error:
                        reasons[name] = str(error)
    finally:
        for worker in workers.values():
            worker.close()
    title = f"{len(seeds)} plans of {size} steps (seeds {seeds[0]} to {seeds[-1]})"
    return [
        row(f"{title}, {saver}: {which}", which, saver, found, reasons) for saver in SAVERS for which in ("mean", "max")
    ]


SAVERS = {"no saver": "", "InMemorySaver": ", InMemorySaver"}
GOALS = {"mean": "≤ 1.05", "max": "≤ 1.10"}


def row(what: str, which: str, saver: str, found: dict[str, list[float]], reasons: dict[str, str]) -> Row:
    """Return one line: ours and StateGraph with or without a saver, beside what has none."""

    def figure(name: str) -> Figure:
        ratios = found[name]
        return reasons[name] if name in reasons else round(mean(ratios) if which == "mean" else max(ratios), 3)

    peers = {
        "StateGraph": figure("StateGraph" + SAVERS[saver]),
        "asyncio": figure("asyncio"),
        "aethergraph": figure("aethergraph"),
    }
    return Row(
        what=what, value=figure("goalgraph" + SAVERS[saver]), unit="× critical path", goal=GOALS[which], peers=peers
    )
