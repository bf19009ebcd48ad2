"""A worker process that is killed: it takes up runs that are due, and its steps write down when they begin."""

import asyncio
import os
import sys
import time
from pathlib import Path

from goalgraph import open_planner
from planner.catalog import ActionCatalog, ActionContext, action
from planner.plan import CandidatePlan
from planner.runs import RunPolicy

STEPS = 10
SECONDS = 0.25
"""That each step takes."""


def plan() -> CandidatePlan:
    """Return steps one after the other: when one begins, all before it are stored."""
    steps = [
        {"id": f"s{at}", "action": "work", "inputs": {"before": f"${{s{at - 1}.result}}" if at else 0}}
        for at in range(STEPS)
    ]
    return CandidatePlan.from_dict({"steps": steps})


def catalog(place: Path) -> ActionCatalog:
    """Return the action, which adds a line to the file `starts` of `place`: when, process, run, step."""

    @action
    async def work(before: int, context: ActionContext) -> int:
        """Take a while."""
        line = f"{time.time()} {os.getpid()} {context.run_id} {context.step_id}\n"
        with (place / "starts").open("a", encoding="ascii") as file:
            file.write(line)
        await asyncio.sleep(SECONDS)
        return before + 1

    return ActionCatalog([work])


async def main(place: Path, lease: float) -> None:
    """Advance what is due, until killed or until the input ends, which it does when whoever started this has ended."""
    async with open_planner(catalog=catalog(place), data_dir=place / "data", policy=RunPolicy(lease=lease)):
        (place / f"ready-{os.getpid()}").touch()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
