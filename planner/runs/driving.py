"""Advancing a run here, or following whoever advances it, until it has ended or waits for a person."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from planner.context import RequestIdentity
from planner.errors import LeaseLost, RunHeld, RunNotFound, RunNotRecorded
from planner.events import ExecutionEvent, ExecutionEventCallback, emit
from planner.execution import ExecutionResult, RunRequest, RunStatus
from planner.execution.active import Active
from planner.execution.read_result import result_of_record
from planner.execution.recorded import Incomplete
from planner.runs.access import RunAccess, open_questions, owner_of
from planner.runs.following import as_told
from storage.errors import StorageError, StorageUnavailable
from storage.runs import ENDS

logger = logging.getLogger("goalgraph")

PAUSES = (0.05, 0.5)
"""Seconds between two looks at a run that is advanced elsewhere: the first, doubled up to the last."""
UNAVAILABLE = 1.0
"""Seconds before a run is tried again whose store did not answer."""


class Relay:
    """Passes events on to one listener, each once, whether the run is advanced here or elsewhere."""

    def __init__(self, listener: ExecutionEventCallback) -> None:
        self.seq = 0
        """Of the last one."""
        self._listener = listener

    async def __call__(self, event: ExecutionEvent, /) -> None:
        """Pass `event` on, unless it has been."""
        if event.seq > self.seq:
            self.seq = event.seq
            await emit(self._listener, event)


class Driver:
    """Advances the runs of one executor.

    Args:
        access: Reads them.
    """

    def __init__(self, access: RunAccess) -> None:
        self.closing = False
        """Whether runs are left to other processes now."""
        self._access = access
        self._executor = access.executor
        self._lacking: set[str] = set()
        """Runs that lack an input here, which was said once."""

    async def advance(self, run_id: str) -> None:
        """Advance a run as its record says, if nobody else does; an engine calls it, and nothing is raised."""
        try:
            record = await self._access.any(run_id)
            if record is None or record.ended or self.closing:
                return
            await self._executor.execute(await self._access.request(record))
        except (RunHeld, LeaseLost) as error:
            logger.debug("%s", error)
        except Incomplete as error:
            if run_id not in self._lacking:
                self._lacking.add(run_id)
                logger.warning(
                    "run %s waits for %s, which its record does not hold; give it to resume()", run_id, error
                )
        except (StorageError, RunNotRecorded) as error:
            logger.info("run %s cannot be advanced now: %s", run_id, error)
        except Exception:  # an engine has nobody to tell
            logger.exception("run %s could not be advanced", run_id)

    async def settle(
        self,
        request: RunRequest,
        active: Active | None = None,
        *,
        patient: bool = False,
        heard: Callable[[RunStatus], None] = lambda _: None,
    ) -> ExecutionResult:
        """Advance a run, or follow whoever does, until it has ended or waits for a person.

        Args:
            request: The run; its listener is a `Relay`, if there is one.
            active: It has been begun here already.
            patient: Whether to wait for a store that does not answer for as long as it takes.
            heard: Told of each status on the way.

        Raises:
            Exception: as `PlanExecutor.execute`; `StorageUnavailable` only without patience.
        """
        begun = active is not None
        while True:
            try:
                heard("running")
                if active is None:
                    return await self._executor.execute(request)
                joined, active = active, None
                return await self._executor.join(joined, request)
            except RunHeld as error:
                pause = error.seconds
            except LeaseLost:
                pause = UNAVAILABLE
            except (StorageUnavailable, RunNotRecorded) as error:
                if not (begun and patient):
                    raise
                logger.info("run %s is tried again: %s", request.context.run_id, error)
                pause = UNAVAILABLE
            begun = True
            found = await self._elsewhere(request, max(pause, PAUSES[0]), heard)
            if found is not None:
                return found

    async def _elsewhere(
        self, request: RunRequest, seconds: float, heard: Callable[[RunStatus], None]
    ) -> ExecutionResult | None:
        """Follow a run that another process advances, for so long; `None` when it goes on."""
        until, pause = monotonic() + seconds, PAUSES[0]
        run_id = request.context.run_id
        while not self.closing:
            try:
                if (found := await self._look(request, heard)) is not None:
                    return found
            except StorageUnavailable as error:
                logger.info("run %s cannot be followed now: %s", run_id, error)
            if monotonic() >= until:
                return None
            await asyncio.sleep(min(pause, max(0.0, until - monotonic())))
            pause = min(2 * pause, PAUSES[1])
        return told(run_id, request.plan.id, "running", "HandedBack: the planner was closed; the run goes on elsewhere")

    async def _look(self, request: RunRequest, heard: Callable[[RunStatus], None]) -> ExecutionResult | None:
        access, run_id = self._access, request.context.run_id
        record = await access.any(run_id)
        if record is None:
            raise RunNotFound(run_id)
        heard(record.status)
        if isinstance(request.on_event, Relay):
            for event in await access.runs.events(run_id, owner_of(record), after=request.on_event.seq):
                await request.on_event(as_told(event))
        if record.ended:
            return await access.result(run_id)
        return result_of_record(record) if record.status == "waiting" else None

    async def taken_up(self, run_id: str, result: ExecutionResult) -> None:
        """Wait until a run that waits has been answered, or goes on for another reason."""
        asked, pause = {question.id for question in result.interrupts}, PAUSES[0]
        while not self.closing:
            try:
                record = await self._access.any(run_id)
                if record is None or record.status != "waiting" or asked - {one.id for one in open_questions(record)}:
                    return
            except StorageUnavailable as error:
                logger.info("run %s cannot be followed now: %s", run_id, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSES[1])

    async def follow(
        self, run_id: str, identity: RequestIdentity, heard: Callable[[RunStatus], None]
    ) -> ExecutionResult:
        """Wait until a run that this process did not start has ended or waits, and take it up when nobody has it."""
        record = await self._access.record(run_id, identity)
        heard(record.status)
        if record.ended:
            return await self._access.result(run_id)
        if record.status == "waiting":
            return result_of_record(record)
        try:
            request = await self._access.request(record)
        except Incomplete:
            request = None
        if request is not None and await self._access.is_ours(run_id):
            return await self.settle(request, patient=True, heard=heard)
        return await self._watch(run_id, identity, heard)

    async def _watch(
        self, run_id: str, identity: RequestIdentity, heard: Callable[[RunStatus], None]
    ) -> ExecutionResult:
        """Wait for a run that this process cannot advance."""
        pause = PAUSES[0]
        while not self.closing:
            record = await self._access.record(run_id, identity)
            heard(record.status)
            if record.status in ENDS or record.status == "waiting":
                return result_of_record(record)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSES[1])
        return told(run_id, "", "running", "HandedBack: the planner was closed; the run goes on elsewhere")


def told(run_id: str, plan_id: str, status: RunStatus, error: str) -> ExecutionResult:
    """Return the result of a run of which no more is known than this."""
    phase = "cancelled" if status == "cancelled" else "failure"
    event = ExecutionEvent(phase, error=error, seq=1, run_id=run_id, time=datetime.now(UTC))
    return ExecutionResult(ok=False, outputs={}, errors=[event], status=status, run_id=run_id, plan_id=plan_id)
