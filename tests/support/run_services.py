"""The runs of a planner over stores in memory, and what a test looks at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from planner.catalog import ActionCatalog
from planner.context import RequestIdentity, RunContext
from planner.execution import PlanExecutor, RunRequest, RunStores
from planner.limits import Limits
from planner.runs import RunPolicy, RunService
from storage.memory import MemoryCheckpoints, MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.protocols import BlobStore

LOCAL = RequestIdentity()
BRISK = RunPolicy(lease=1.0, sweep=0.1, grace=0.5)
"""Notices everything soon."""
ALONE = RunPolicy(sweep=0.05, grace=0.5, survive=False)
"""Of a planner whose runs end with it."""


def memory_stores(records: MemoryRecords | None = None, checkpoints: MemoryCheckpoints | None = None) -> RunStores:
    """Stores that several services of one test can share."""
    records = records or MemoryRecords()
    live = MemoryRuns(records, checkpoints)
    return RunStores(records=records, live=live, renewer=live.renewer)


def new_service(
    *actions: object,
    saver: Any = None,
    stores: RunStores | None = None,
    policy: RunPolicy = BRISK,
    limits: Limits | None = None,
    blobs: BlobStore | None = None,
    **options: Any,
) -> RunService:
    """A service over its own catalog; whoever makes one closes it."""
    stores = stores or memory_stores()
    executor = PlanExecutor(ActionCatalog(actions), saver, limits, blobs, stores=stores, lease=policy.lease)
    return RunService(executor, policy=policy, **options)


@asynccontextmanager
async def open_service(*actions: object, **options: Any) -> AsyncIterator[RunService]:
    """As `new_service`, closed in the end."""
    service = new_service(*actions, **options)
    try:
        yield service
    finally:
        async with asyncio.timeout(20):
            await service.aclose()


def request_of(plan: Any, run_id: str = "r", identity: RequestIdentity = LOCAL, **options: Any) -> RunRequest:
    """What is asked of a service."""
    return RunRequest(plan=plan, context=RunContext(run_id=run_id, identity=identity), **options)
