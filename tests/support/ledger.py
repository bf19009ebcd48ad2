"""Actions that are undone, and a ledger of what was done and undone."""

import asyncio
from typing import Any

from langgraph.types import RetryPolicy

from planner.catalog import ActionContext, action
from planner.execution import ExecutionResult
from planner.plan import CandidatePlan
from storage.errors import StorageError
from tests.support.running import Runner, loop_turn, make_plan


class Crash(StorageError):
    """Ends a run in this process, as the loss of its store does: of what raises it nothing is recorded."""


class Ledger:
    """What was done and undone, in order, and actions that write to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken: set[str] = set()
        """Names whose undo fails."""
        self.keys: list[str] = []

    def actions(self) -> list[Any]:
        once = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=Exception)

        @action(retry=once)
        async def take_back(name: str, ctx: ActionContext) -> None:
            self.lines.append(f"undo {name}")
            self.keys.append(ctx.idempotency_key)
            if name in self.broken:
                raise RuntimeError(f"{name} stays")

        @action(undo="take_back", effect="write")
        async def do(name: str, uses: list[str] | None = None) -> str:
            self.lines.append(f"do {name}")
            return name

        @action
        async def look(name: str, uses: list[str] | None = None) -> str:
            return name

        @action
        async def fail(uses: list[str] | None = None) -> str:
            raise RuntimeError("no")

        return [take_back, do, look, fail]

    @property
    def undone(self) -> list[str]:
        return [line.removeprefix("undo ") for line in self.lines if line.startswith("undo ")]


def step(name: str, *uses: str, action: str = "do", **more: Any) -> dict[str, Any]:
    own = {} if action == "fail" else {"name": name}
    return {"id": name, "action": action, "inputs": {**own, "uses": [f"${{{use}}}" for use in uses]}, **more}


CHAIN = make_plan(step("a"), step("b", "a"), step("c", "b"), step("end", "c", action="fail"))


def statuses(result: ExecutionResult) -> dict[str, str]:
    return {step_id: undo.status for step_id, undo in result.compensation.items()}


async def cancelled_at_once(runner: Runner, plan: CandidatePlan, **options: Any) -> ExecutionResult:
    """Cancel a run as soon as it is taken up."""
    running = asyncio.create_task(runner.run(plan, **options))
    while not runner.executor.cancel("run-1") and not running.done():
        await loop_turn()
    return await running
