"""Planners over real servers that a test disturbs, and a plan that stands still in its middle until it is released."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from goalgraph import open_planner
from goalgraph.settings import Settings, StorageSettings
from planner.catalog import ActionCatalog, action
from planner.context import RequestIdentity, RunContext
from planner.execution import RunEvent, RunRequest, Runs
from planner.node_planner import NodePlanner
from planner.plan import CandidatePlan
from planner.runs import RunPolicy
from storage.dual import DualStorage
from storage.errors import StorageError
from tests.support.eventually import eventually
from tests.support.running import make_plan

LOCAL = RequestIdentity()
SECONDS = 20.0
STILL = make_plan(
    {"id": "a", "action": "count", "inputs": {"name": "a"}},
    {"id": "b", "action": "stand", "inputs": {"after": "${a}"}},
    {"id": "c", "action": "count", "inputs": {"name": "c", "after": "${b}"}},
    outputs={"c": "${c}"},
)


class Standstill:
    """Actions that several planners of one test share, and what was called of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stopped = asyncio.Event()
        """Set when a call of `stand` was cancelled."""
        self.released = asyncio.Event()
        """Until it is set, `stand` does not return."""

    @property
    def catalog(self) -> ActionCatalog:
        """A new one with the same actions."""

        @action(effect="write", idempotent="keyed")
        async def count(name: str, after: Any = None) -> str:
            self.calls.append(name)
            return name

        @action(effect="write", idempotent="keyed")
        async def stand(after: Any = None) -> str:
            self.calls.append("b")
            try:
                async with asyncio.timeout(SECONDS):
                    await self.released.wait()
            except asyncio.CancelledError:
                self.stopped.set()
                raise
            return "b"

        return ActionCatalog([count, stand])

    async def reached(self, times: int = 1) -> None:
        """Wait until `stand` was called so often."""

        async def called() -> bool:
            return self.calls.count("b") >= times

        await eventually(called, f"the step in the middle is called {times} times")

    async def until_stopped(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.stopped.wait()


@asynccontextmanager
async def open_worker(
    redis: str, archive: str, folder: Path, catalog: ActionCatalog, **options: Any
) -> AsyncIterator[NodePlanner]:
    """Open a planner that takes runs up; a `policy` of its own may say otherwise."""
    options.setdefault("policy", RunPolicy(lease=1.0, sweep=0.1, grace=0.1))
    settings = Settings(data_dir=folder, storage=StorageSettings(redis_url=redis, archive_url=archive))
    opening = open_planner(catalog=catalog, settings=settings, **options)
    async with opening as planner:
        try:
            yield planner
        finally:
            async with asyncio.timeout(SECONDS):
                await planner.aclose()


async def submit(planner: NodePlanner, plan: CandidatePlan, run_id: str, **context: Any) -> None:
    """Record a run and leave it to whoever looks for what is due."""
    request = RunRequest(plan=plan, context=RunContext(run_id=run_id, **context))
    await planner.service.run_service.log.submit(request)


def storage_of(planner: NodePlanner) -> DualStorage:
    """Both tiers of an opened planner."""
    saver: Any = planner.service.executor.checkpointer
    return saver.storage


async def status_of(planner: NodePlanner, run_id: str) -> str:
    """As its record says; empty while nobody can say."""
    try:
        return (await Runs(planner.service.run_service.log.stores.records).get(run_id, LOCAL)).status
    except StorageError:
        return ""


async def until_ended(planner: NodePlanner, run_id: str, status: str = "succeeded") -> None:
    async def ended() -> bool:
        return await status_of(planner, run_id) == status

    await eventually(ended, f"{run_id} {status}")


async def events_of(planner: NodePlanner, run_id: str) -> list[RunEvent]:
    return list(await Runs(planner.service.run_service.log.stores.records).events(run_id, LOCAL))


async def phases_of(planner: NodePlanner, run_id: str, step_id: str | None = None) -> list[str]:
    """Of the run itself, or of a step, in order."""
    return [event.phase for event in await events_of(planner, run_id) if event.step_id == step_id]
