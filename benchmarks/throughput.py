"""Runs a second of three steps that do nothing, with 1, 2 and 4 worker processes; all are submitted before."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from uuid import uuid4

from benchmarks.fleet import fleet
from benchmarks.rows import Figure, Row, Unmeasured
from benchmarks.run_systems import BARE, NAMES, OURS, PROTOTYPE, SYSTEMS

WORKERS, QUICK_WORKERS = (1, 2, 4), (2,)
RUNS, QUICK_RUNS = 1000, 200
REPEATS = 2
QUICK_NAMES = (OURS, PROTOTYPE, BARE)
SLOTS = 16
"""Runs that one worker advances at a time, and threads of dramatiq's own."""
LIMIT = 90.0
PRINTED = {1: 393, 2: 721, 4: 586}
"""Of the prototype, as reference/durable.md section 3.3 prints them for two cores."""


async def measured(system: str, workers: int, runs: int) -> float:
    """Return runs a second, from when the first was taken up until the last had ended."""
    with tempfile.TemporaryDirectory(prefix="gg-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        async with SYSTEMS[system].submitter(place) as submit:
            async with fleet(system, place, workers=workers, slots=SLOTS, limit=LIMIT) as go:
                for _ in range(runs):
                    await submit(uuid4().hex)
                said = [one for one in await go(runs) if one["runs"]]
            return runs / (max(one["ended"] for one in said) - min(one["began"] for one in said))


def run(
    *, quick: bool = False, systems: Sequence[str] = (), workers: Sequence[int] | None = None, runs: int | None = None
) -> list[Row]:
    """Measure each system with each number of workers; the systems take turns."""
    count = runs or (QUICK_RUNS if quick else RUNS)
    rows: list[Row] = []
    for number in workers or (QUICK_WORKERS if quick else WORKERS):
        found: dict[str, list[float]] = {name: [] for name in systems or (QUICK_NAMES if quick else NAMES)}
        reasons: dict[str, str] = {}
        for _ in range(1 if quick else REPEATS):
            for name in (name for name in found if name not in reasons):
                try:
                    found[name].append(asyncio.run(measured(name, number, count)))
                except Unmeasured as error:
                    reasons[name] = str(error)
        rows += lines(number, count, found, reasons)
    return rows


def lines(workers: int, runs: int, found: Mapping[str, Sequence[float]], reasons: Mapping[str, str]) -> Sequence[Row]:
    """Return runs a second, and ours as a share of the prototype's, divided within each repetition."""
    figures: dict[str, Figure] = {
        name: reasons.get(name) or round(median(several), 1) for name, several in found.items()
    }
    title = f"{workers} worker{'s' * (workers > 1)}, {runs:,} runs"
    others = {name: figure for name, figure in figures.items() if name != OURS}
    if workers in PRINTED:
        others["prototype, printed"] = PRINTED[workers]
    rows = [Row(what=title, value=figures[OURS], unit="runs/s", peers=others)]
    if PROTOTYPE in found and PROTOTYPE not in reasons:

        def share(name: str) -> Figure:
            pairs = zip(found[name], found[PROTOTYPE], strict=False)
            return reasons.get(name) or round(median(own / theirs for own, theirs in pairs), 2)

        shares = {name: share(name) for name in found if name not in (OURS, PROTOTYPE)}
        rows.append(Row(what=f"{title}: of the prototype", value=share(OURS), unit="×", goal="≥ 0.8", peers=shares))
    return rows
