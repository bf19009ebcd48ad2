"""Runs whose process is killed with `kill -9`: how long until another one goes on with them, and what runs twice."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import uuid4

from benchmarks.mortal import STEPS, catalog, plan
from benchmarks.rows import Row, Unmeasured
from benchmarks.run_systems import Nobody
from benchmarks.worker import ROOT
from goalgraph import open_planner
from planner.context import RunContext
from planner.execution import RunRequest
from planner.runs import RunPolicy, RunService

RUNS = 6
"""At a time, all in flight when their process is killed, or all but those that another one took."""
KILLS, QUICK_KILLS = 6, 1
LEASES, QUICK_LEASES = (5.0, 2.0), (2.0,)
AT_STEP = 3
"""Which the last of them has begun when the process is killed."""
PATIENCE = 60.0
PRINTED = 0.42
"""Seconds over a lease of 5, of the prototype in reference/durable.md section 3.3."""


class Start(NamedTuple):
    """A step began."""

    at: float
    process: int
    run: str
    step: str


class Kill(NamedTuple):
    """What one kill led to."""

    late: Sequence[float]
    """Of each run that was in flight: seconds from the kill until another process began a step, less the lease."""
    twice: int
    """Steps that began twice."""
    finished_twice: int
    """Of these, steps whose dependents had begun, so that they were stored."""


def starts(place: Path) -> list[Start]:
    """Read what the steps wrote."""
    try:
        text = (place / "starts").read_text(encoding="ascii")
    except FileNotFoundError:
        return []
    lines = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
    return [Start(float(at), int(process), run_id, step) for at, process, run_id, step in lines]


@contextmanager
def worker(place: Path, lease: float) -> Generator[subprocess.Popen[bytes]]:
    """Start a worker, and end it."""
    command = [sys.executable, "-m", "benchmarks.mortal", str(place), str(lease)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


async def until(done: Callable[[], object]) -> None:
    """Wait for it.

    Raises:
        Unmeasured: it took too long.
    """
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise Unmeasured(f"over {PATIENCE:g} s")
        await asyncio.sleep(0.01)


async def kill_one(place: Path, lease: float, runs: RunService) -> Kill:
    """Have runs taken up by one of two workers, kill it, and watch the other one."""
    ids = [uuid4().hex for _ in range(RUNS)]
    with worker(place, lease) as first, worker(place, lease) as second:
        await until(lambda: all((place / f"ready-{one.pid}").exists() for one in (first, second)))
        for run_id in ids:
            await runs.log.submit(RunRequest(plan=plan(), context=RunContext(run_id=run_id)))

        def ours() -> list[Start]:
            return [start for start in starts(place) if start.run in ids]

        await until(lambda: len({start.run for start in ours() if start.step == f"s{AT_STEP}"}) == RUNS)
        victim = Counter(start.process for start in ours()).most_common(1)[0][0]
        os.kill(victim, signal.SIGKILL)
        killed = time.time()
        before = ours()
        orphans = {start.run for start in before if start.process == victim}
        await until(lambda: orphans == {start.run for start in ours() if start.at > killed and start.run in orphans})
        went_on = [min(start.at for start in ours() if start.at > killed and start.run == run_id) for run_id in orphans]
        last = f"s{STEPS - 1}"
        await until(lambda: {start.run for start in ours() if start.step == last} == set(ids))
        counts = Counter((start.run, start.step) for start in ours())
    twice = [(run_id, step) for (run_id, step), count in counts.items() if count > 1]
    begun = {(start.run, start.step) for start in before}
    finished = [(run_id, step) for run_id, step in twice if (run_id, f"s{int(step[1:]) + 1}") in begun]
    late = [at - killed - lease for at in went_on]
    return Kill(late, sum(counts[one] - 1 for one in twice), len(finished))


async def measured(lease: float, kills: int) -> list[Kill]:
    """Return what became of each kill."""
    with tempfile.TemporaryDirectory(prefix="gg-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        policy = RunPolicy(advance=False, lease=lease)
        opening = open_planner(catalog=catalog(place), data_dir=place / "data", policy=policy, engine=Nobody())
        async with opening as planner:
            return [await kill_one(place, lease, planner.service.run_service) for _ in range(kills)]


def run(*, quick: bool = False, leases: Sequence[float] | None = None, kills: int | None = None) -> list[Row]:
    """Kill one of two workers again and again."""
    rows: list[Row] = []
    for lease in leases or (QUICK_LEASES if quick else LEASES):
        found = asyncio.run(measured(lease, kills or (QUICK_KILLS if quick else KILLS)))
        late = [seconds for kill in found for seconds in kill.late]
        title = f"lease {lease:g} s, {len(found)} kills, {len(late)} runs in flight"
        printed = {"prototype, printed": PRINTED} if lease == LEASES[0] else {}
        rows += [
            Row(what=f"{title}: resumed after the lease, min", value=round(min(late), 2), unit="s"),
            Row(what=f"{title}: median", value=round(median(late), 2), unit="s", peers=printed),
            Row(what=f"{title}: max", value=round(max(late), 2), unit="s", goal="≤ 1"),
            Row(
                what=f"{title}: steps that began twice, a run",
                value=round(sum(kill.twice for kill in found) / len(late), 2),
                goal="≤ 1",
                peers={"prototype, printed": 1} if printed else {},
            ),
            Row(what=f"{title}: of these finished", value=sum(kill.finished_twice for kill in found), goal="0"),
        ]
    return rows
