"""From submitting a run to its first step: 50 runs a second arrive, and two workers have nothing else to do."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles
from uuid import uuid4

from benchmarks.fleet import fleet
from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.run_systems import ALONE, BARE, DUE, OURS, PROTOTYPE, SYSTEMS
from benchmarks.throughput import LIMIT, SLOTS

RATE = 50
RUNS, QUICK_RUNS = 1000, 100
WORKERS = 2
NAMES, QUICK_NAMES = (OURS, ALONE, DUE, PROTOTYPE, BARE), (OURS, BARE)
PRINTED = {50: 7.9, 99: 35.5}
"""Of the prototype, as reference/durable.md section 3.3 prints them."""


async def waited(system: str, runs: int) -> list[float]:
    """Return the milliseconds of each run, from before it was submitted until its first step worked."""
    sent: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="gg-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        async with (
            SYSTEMS[system].submitter(place) as submit,
            fleet(system, place, workers=WORKERS, slots=SLOTS, limit=LIMIT) as go,
        ):
            going = asyncio.create_task(go(runs))
            await asyncio.sleep(0.5)  # until all of them look for runs
            began = time.perf_counter()
            for at in range(runs):
                await asyncio.sleep(began + at / RATE - time.perf_counter())
                run_id = uuid4().hex
                sent[run_id] = time.time()
                await submit(run_id)
            said = await going
    return [1000 * (at - sent[run_id]) for one in said for run_id, at in one["arrived"].items()]


def run(*, quick: bool = False, systems: Sequence[str] = (), runs: int | None = None) -> list[Row]:
    """Measure each system."""
    found: dict[str, dict[int, Figure]] = {}
    for name in systems or (QUICK_NAMES if quick else NAMES):
        try:
            each = asyncio.run(waited(name, runs or (QUICK_RUNS if quick else RUNS)))
        except Unmeasured as error:
            found[name] = {share: str(error) for share in PRINTED}
        else:
            cuts = quantiles(each, n=100)
            found[name] = {share: round(cuts[share - 1], 1) for share in PRINTED}
    rows: list[Row] = []
    for share, printed in PRINTED.items():
        others = {name: figures[share] for name, figures in found.items() if name != OURS}
        peers = {**others, "prototype, printed": printed}
        what = f"{RATE} runs a second, {WORKERS} workers: from submitting to the first step, p{share}"
        rows.append(Row(what=what, value=found[OURS][share], unit="ms", peers=peers))
    return rows
