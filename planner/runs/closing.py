"""Closing: what goes on here is left to other processes, or is ended where it would die with this one."""

import asyncio
import logging

from planner.execution.executor import PlanExecutor
from planner.runs.driving import Driver
from planner.runs.engine import ExecutionEngine
from planner.runs.going import Going

logger = logging.getLogger("goalgraph")

PAUSE = 0.02
"""Seconds between two looks at what still goes on."""
LEAVING = 5.0
"""Seconds beyond the grace after which nobody waits any longer for a store that does not answer."""


async def leave(executor: PlanExecutor, driver: Driver, engine: ExecutionEngine, going: Going, grace: float) -> None:
    """Leave what goes on to other processes; actions that work now have `grace` seconds to finish."""
    driver.closing = True
    driver.wake_all()
    stopping = asyncio.create_task(engine.stop(), name="goalgraph-engine-stop")  # others get what comes now
    if left := executor.active:
        logger.info("%d runs go on when a process with their actions is there: %s", len(left), ", ".join(left))
    try:
        async with asyncio.timeout(grace + LEAVING):
            while going or executor.active:  # what was just being taken up comes late
                await executor.hand_back(grace)
                await asyncio.sleep(PAUSE)
            await asyncio.shield(stopping)
    except TimeoutError:
        logger.warning("the store does not answer; the leases of runs that were advanced here run out by themselves")
        going.drop()
        stopping.cancel()
        await asyncio.wait({stopping})


async def end(executor: PlanExecutor, engine: ExecutionEngine, going: Going) -> None:
    """Cancel what would die with this process."""
    going.cancel()
    while going or executor.active:
        for run_id in executor.active:
            executor.cancel(run_id)
        await asyncio.sleep(PAUSE)
    await engine.stop()
