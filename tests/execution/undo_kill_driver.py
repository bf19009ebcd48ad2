"""Kills a run with SIGKILL in the middle of its compensation, or of a replan, then resumes it; prints what happened.

Started by test_undo_kill.py. As in kill_driver.py, each life is a forked process, and each line of the journal is on
its way to the disk before the process goes on.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from planner.catalog import ActionCatalog, ActionContext, action
from planner.context import RunContext
from planner.events import ExecutionEvent
from planner.execution import PlanExecutor, RunRequest
from planner.plan import CandidatePlan
from planner.plan.replanning import ReplanRequest
from tests.execution.kill_driver import Life, in_process


def make_catalog(life: Life) -> ActionCatalog:
    @action
    def take_back(ctx: ActionContext, name: str) -> None:
        life.write(f"undo {name} {ctx.idempotency_key}")

    @action(undo="take_back")
    async def book(name: str, uses: list[str] | None = None) -> str:
        life.write(f"run {name}")
        return name

    @action
    async def fail(uses: list[str]) -> str:
        life.write("run fail")
        raise RuntimeError("no")

    @action
    async def mend(uses: list[str]) -> str:
        life.write("run mend")
        return "mended"

    return ActionCatalog([take_back, book, fail, mend])


def step(name: str, *uses: str) -> dict[str, Any]:
    return {"id": name, "action": "book", "inputs": {"name": name, "uses": [f"${{{use}}}" for use in uses]}}


LAST = {"id": "end", "action": "fail", "inputs": {"uses": ["${c}", "${d}"]}}
PLAN = CandidatePlan.from_dict({"steps": [step("a"), step("b", "a"), step("c", "b"), step("d", "a"), LAST]})
TAIL = CandidatePlan.from_dict({"steps": [step("e", "c"), {**LAST, "action": "mend", "inputs": {"uses": ["${e}"]}}]})


async def live(folder: Path, die_after: str | None, on_failure: Any) -> None:
    life = Life(folder, die_after)

    def listen(event: ExecutionEvent) -> None:
        match event.phase:
            case "step_success" | "step_failure":
                life.write(f"done {event.step_id}")
            case "compensation_success":
                life.write(f"undone {event.step_id}")
            case "replan" | "compensation_start":
                life.write(event.phase)
            case _:
                pass

    async def plan_on(request: ReplanRequest, /) -> CandidatePlan | None:
        life.write(f"asked for revision {request.revision}")
        return TAIL

    async with aiosqlite.connect(folder / "runs.db") as connection:
        executor = PlanExecutor(make_catalog(life), AsyncSqliteSaver(connection))
        executor.replanner = plan_on
        request = RunRequest(plan=PLAN, context=RunContext(run_id="r"), on_event=listen, on_failure=on_failure)
        result = await executor.execute(request)
    undone = {step_id: undo.status for step_id, undo in sorted(result.compensation.items())}
    end = {
        "status": result.status,
        "undone": undone,
        "outputs": result.outputs,
        "error": None if result.ok else result.errors[-1].error,
    }
    (folder / "result.json").write_text(json.dumps(end))


def story(base: Path, on_failure: str) -> dict[str, Any]:
    def lived(folder: Path, die_after: str | None) -> int:
        return in_process(partial(live, folder, die_after, on_failure))

    undisturbed = base / on_failure
    undisturbed.mkdir()
    lived(undisturbed, None)
    journal = (undisturbed / "journal").read_text().splitlines()
    reports: list[dict[str, Any]] = []
    for number, point in enumerate(journal[journal.index("run fail") :]):
        folder = base / f"{on_failure}-{number}"
        folder.mkdir()
        killed = lived(folder, point)
        before = (folder / "journal").read_text().splitlines()
        resumed = lived(folder, None)
        after = (folder / "journal").read_text().splitlines()[len(before) :]
        result = json.loads((folder / "result.json").read_text()) if resumed == 0 else None
        reports.append(
            {"point": point, "killed": killed, "resumed": resumed, "before": before, "after": after, "result": result}
        )
    return {"journal": journal, "result": json.loads((undisturbed / "result.json").read_text()), "reports": reports}


def main(base: Path) -> None:
    print(json.dumps({policy: story(base, policy) for policy in ("compensate", "replan")}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
