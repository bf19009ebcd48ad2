"""Runs one plan in processes that kill themselves with SIGKILL at a given point, then resumes it; prints what happened.

Started by test_kill.py. Each life of the run is a real process, forked so that it need not import everything again, and
every line of the journal is on its way to the disk before the process goes on.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from planner.catalog import ActionCatalog, ActionContext, action
from planner.context import RunContext
from planner.events import ExecutionEvent
from planner.execution import PlanExecutor, RunRequest
from planner.plan import CandidatePlan


class Life:
    """One process: where it writes, and the line of the journal after which it dies."""

    def __init__(self, folder: Path, die_after: str | None) -> None:
        self.journal = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.die_after = die_after

    def write(self, line: str) -> None:
        os.write(self.journal, f"{line}\n".encode())
        if line == self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)


class State(TypedDict):
    seed: int
    total: int


def make_catalog(life: Life) -> ActionCatalog:
    @action
    async def number(ctx: ActionContext, value: int) -> int:
        life.write(f"run {ctx.step_id}")
        return value

    @action
    def add(ctx: ActionContext, values: list[int]) -> int:
        life.write(f"run {ctx.step_id}")
        return sum(values)

    @action
    async def spread(ctx: ActionContext, value: int) -> list[int]:
        life.write(f"run {ctx.step_id}")
        return [value + at for at in range(3)]

    @action
    async def square(ctx: ActionContext, value: int) -> int:
        life.write(f"run {ctx.step_id}:{value}")
        return value * value

    async def double(state: State) -> State:
        life.write("run flow:double")
        return {"seed": state["seed"], "total": state["seed"] * 2}

    async def bump(state: State) -> State:
        life.write("run flow:bump")
        return {"seed": state["seed"], "total": state["total"] + 1}

    graph = StateGraph(State)
    graph.add_node("double", double)
    graph.add_node("bump", bump)
    graph.add_edge(START, "double")
    graph.add_edge("double", "bump")
    catalog = ActionCatalog([number, add, spread, square])
    catalog.add_flow(graph, name="grow")
    return catalog


PLAN = CandidatePlan.from_dict(
    {
        "goal": "twelve steps with a join, a for_each and a nested flow",
        "steps": [
            {"id": "a", "action": "number", "inputs": {"value": 1}},
            {"id": "b", "action": "number", "inputs": {"value": 2}},
            {"id": "c", "action": "number", "inputs": {"value": 3}},
            {"id": "ab", "action": "add", "inputs": {"values": ["${a}", "${b}"]}},
            {"id": "bc", "action": "add", "inputs": {"values": ["${b}", "${c}"]}},
            {"id": "join", "action": "add", "inputs": {"values": ["${ab}", "${bc}"]}},
            {"id": "list", "action": "spread", "inputs": {"value": "${join}"}},
            {"id": "each", "action": "square", "for_each": "${list}", "inputs": {"value": "${item}"}},
            {"id": "sum", "action": "add", "inputs": {"values": "${each}"}},
            {"id": "flow", "action": "grow", "inputs": {"seed": "${join}"}},
            {"id": "last", "action": "add", "inputs": {"values": ["${sum}", "${flow.total}"]}},
            {"id": "side", "action": "number", "inputs": {"value": 99}, "after": ["c"]},
        ],
        "outputs": {"last": "${last}", "each": "${each}", "ab": "${ab}", "bc": "${bc}", "flow": "${flow.total}"},
    }
)


async def live(folder: Path, die_after: str | None) -> None:
    life = Life(folder, die_after)

    def listen(event: ExecutionEvent) -> None:
        if event.phase == "step_success":
            life.write(f"done {event.step_id}")

    async with aiosqlite.connect(folder / "runs.db") as connection:
        saver = AsyncSqliteSaver(connection)
        executor = PlanExecutor(make_catalog(life), saver)
        result = await executor.execute(RunRequest(plan=PLAN, context=RunContext(run_id="r"), on_event=listen))
    (folder / "result.json").write_text(json.dumps({"ok": result.ok, "outputs": result.outputs}))


def in_process(life: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Live in a process of its own and return how it ended: 0, or minus the signal."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(life())
        except BaseException as error:  # noqa: BLE001 - the parent has to learn why
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(base: Path) -> None:
    undisturbed = base / "undisturbed"
    undisturbed.mkdir()
    ends: dict[str, Any] = {"undisturbed": in_process(partial(live, undisturbed, None))}
    reports: list[dict[str, Any]] = []
    for number, point in enumerate((undisturbed / "journal").read_text().splitlines()):
        folder = base / f"kill-{number}"
        folder.mkdir()
        killed = in_process(partial(live, folder, point))
        journal = (folder / "journal").read_text().splitlines()
        resumed = in_process(partial(live, folder, None))
        reports.append(
            {
                "point": point,
                "killed": killed,
                "resumed": resumed,
                "before": journal,
                "after": (folder / "journal").read_text().splitlines()[len(journal) :],
                "result": json.loads((folder / "result.json").read_text()) if resumed == 0 else None,
            }
        )
    ends["result"] = json.loads((undisturbed / "result.json").read_text())
    print(json.dumps({"ends": ends, "reports": reports}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
