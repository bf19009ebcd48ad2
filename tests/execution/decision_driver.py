"""Runs a plan with an action that must not run twice, in processes that die in the middle of it.

Started by test_decisions.py. Each life of a run is a process of its own, forked so that it need not import all again.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from planner.catalog import ActionCatalog, action
from planner.context import RunContext
from planner.execution import PlanExecutor, RunRequest
from planner.execution.people import check_answer
from planner.plan import CandidatePlan

PLAN = CandidatePlan.from_dict(
    {
        "steps": [
            {"id": "p", "action": "pay", "inputs": {"amount": 5}},
            {"id": "d", "action": "double", "inputs": {"value": "${p}"}},
        ],
        "outputs": {"doubled": "${d}"},
    }
)


def make_catalog(journal: Path, *, dies: bool) -> ActionCatalog:
    @action(idempotent="no", effect="external")
    async def pay(amount: int) -> int:
        with journal.open("a", encoding="utf-8") as file:
            file.write("paid\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return amount

    @action
    async def double(value: int) -> int:
        return 2 * value

    return ActionCatalog([pay, double])


async def live(folder: Path, decision: Mapping[str, Any] | None, *, dies: bool) -> None:
    """Go on with the run; with a decision, answer what it asked last."""
    answers: dict[str, Any] = {}
    async with aiosqlite.connect(folder / "runs.db") as connection:
        saver = AsyncSqliteSaver(connection)
        executor = PlanExecutor(make_catalog(folder / "journal", dies=dies), saver)
        if decision is not None:
            waiting = await executor.execute(RunRequest(plan=PLAN, context=RunContext(run_id="r")))
            answers = {one.id: check_answer(one, decision) for one in waiting.interrupts}
        result = await executor.execute(RunRequest(plan=PLAN, context=RunContext(run_id="r"), answers=answers))
    told = {
        "status": result.status,
        "outputs": result.outputs,
        "asks": [[one.kind, one.step_id, one.value["inputs"]] for one in result.interrupts],
        "ended": {step: [one.status, one.error_type, one.error] for step, one in result.outcomes.items()},
        "paid": len((folder / "journal").read_text().splitlines()),
    }
    (folder / "told.json").write_text(json.dumps(told))


def in_process(folder: Path, decision: Mapping[str, Any] | None = None, *, dies: bool = False) -> dict[str, Any]:
    """Live in a process of its own and return what it told, or how it was killed."""
    (folder / "told.json").unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(live(folder, decision, dies=dies))
        except BaseException as error:  # noqa: BLE001 - the parent has to learn why
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads((folder / "told.json").read_text()) if code == 0 else {"code": code}


def main(base: Path) -> None:
    decisions = {
        "retry": {"decision": "retry"},
        "succeeded": {"decision": "succeeded", "value": 7},
        "failed": {"decision": "failed", "error": "the bank says no"},
    }
    story: dict[str, list[dict[str, Any]]] = {}
    for name, decision in decisions.items():
        folder = base / name
        folder.mkdir()
        story[name] = [in_process(folder, dies=True), in_process(folder), in_process(folder, decision)]
    folder = base / "again"
    folder.mkdir()
    story["again"] = [
        in_process(folder, dies=True),
        in_process(folder, {"decision": "retry"}, dies=True),
        in_process(folder),
        in_process(folder, {"decision": "succeeded", "value": 8}),
    ]
    print(json.dumps(story))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
