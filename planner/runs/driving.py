"""Advancing a run here, or following whoever advances it, until it has ended or waits for a person."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from time import monotonic

from planner.context import RequestIdentity
from planner.errors import LeaseLost, MissingSecrets, PlannerError, RunHeld, RunNotFound, RunNotRecorded
from planner.events import ExecutionEvent, ExecutionEventCallback, emit
from planner.execution import ExecutionResult, RunEvent, RunRequest, RunStatus
from planner.execution.active import Active
from planner.execution.read_result import result_of_record
from planner.execution.run_log import Taken
from planner.execution.run_records import read_run
from planner.runs.access import RunAccess, open_questions, owner_of
from planner.runs.following import as_told
from planner.runs.stopping import NEVER, end_unrun
from storage.errors import CorruptRecord, Fenced, NewerRecord, StorageError, StorageUnavailable
from storage.runs import Granted

logger = logging.getLogger("goalgraph")

PAUSES = (0.05, 0.5)
"""Seconds between two looks at a run that is advanced elsewhere: the first, doubled up to the last."""
LONGEST_WAIT = 10.0
"""Seconds between two looks at a run that waits for a person, after it has waited for long; an answer that is given in
this process is heard at once."""
MOST_LACKING = 10_000
"""Runs of which it is remembered that it was said what they lack here."""
LOOK_AGAIN = 5.0
"""Seconds after which a run is looked at again that another caller advances in this process."""
UNAVAILABLE = 1.0
"""Seconds before a run is tried again whose store did not answer."""


class Relay:
    """Passes events on to one listener, each once, whether the run is advanced here or elsewhere."""

    def __init__(self, listener: ExecutionEventCallback) -> None:
        self.seq = 0
        """Of the last one."""
        self._began = 0
        """Of the last one that told that the run begins, or goes on."""
        self._listener = listener

    async def __call__(self, event: ExecutionEvent, /) -> None:
        """Pass `event` on, unless it has been."""
        if event.seq > self.seq:
            self.seq = event.seq
            if event.phase == "start":
                self._began = event.seq
            await emit(self._listener, event)

    def rewind(self, stored: Sequence[RunEvent]) -> None:
        """Go on from what is `stored`: what was passed on before it was, others tell their events under its numbers."""
        later = [event.seq for event in stored if event.phase == "start" and event.seq > self._began]
        newest = stored[-1].seq if stored else 0
        self.seq = min(self.seq, later[0] - 1 if later else newest)


def relayed(request: RunRequest) -> RunRequest:
    """Return the request with a listener that is told each event once, wherever the run is advanced."""
    if request.on_event is None or isinstance(request.on_event, Relay):
        return request
    return replace(request, on_event=Relay(request.on_event))


class Driver:
    """Advances the runs of one executor.

    Args:
        access: Reads them.
        here: Whether runs in the background are advanced in this process, and not by workers.
    """

    def __init__(self, access: RunAccess, *, here: bool) -> None:
        self.here = here
        self.closing = False
        """Whether runs are left to other processes now."""
        self._access = access
        self._executor = access.executor
        self.on_free: Callable[[], None] = lambda: None
        """Told when there is room for another run."""
        self.on_refused: Callable[[str], None] = lambda _: None
        """Told of a run whose plan this process does not run."""
        self.busy = 0
        """Runs that an engine has advanced here now."""
        self.started = 0
        """Runs that were begun here, or taken up where another process had left them."""
        self.ended: Counter[RunStatus] = Counter()
        """Those of them that have ended, or wait for a person, by status."""
        self.lost = 0
        """Those whose lease was lost, so that another process has them."""
        self._lacking: set[str] = set()
        """Runs that lack an input here, which was said once."""
        self._waits: dict[str, set[asyncio.Event]] = {}
        """Set when something was said, in this process, to a run that waits."""

    async def advance(self, run_id: str) -> None:
        """Advance a run as its record says, if nobody else does; an engine calls it, and nothing is raised."""
        self.busy += 1
        try:
            await self._take_up(run_id)
        except (RunHeld, LeaseLost) as error:
            logger.debug("%s", error)
        except MissingSecrets as error:
            if run_id not in self._lacking:
                if len(self._lacking) >= MOST_LACKING:
                    self._lacking.clear()
                self._lacking.add(run_id)
                logger.warning("%s; it waits", error)
        except (StorageError, RunNotRecorded) as error:
            logger.info("run %s cannot be advanced now: %s", run_id, error)
        except Exception:  # an engine has nobody to tell
            logger.exception("run %s could not be advanced", run_id)
        finally:
            self.busy -= 1
            self.wake(run_id)
            self.on_free()

    async def _take_up(self, run_id: str) -> None:
        """Advance a run as its record says, which comes with the lease."""
        found = None if self.closing else await self._executor.begin_recorded(run_id, self._read)
        if found is None:
            return
        request, begun = found
        if refused(begun if isinstance(begun, ExecutionResult) else await self._join(begun, request)):
            self.on_refused(run_id)

    async def _read(self, taken: Taken) -> RunRequest | None:
        """Return the request of a run that was taken up; one that cannot be run here is left to others, or ended."""
        log = self._executor.log
        if log is None:
            raise AssertionError("what was taken up has a log")
        try:
            return await self._access.request(read_run(taken.granted.state, log.stores.codec))
        except BaseException as error:  # whatever it is, it is raised again
            if isinstance(error, MissingSecrets) and taken.granted.cancelled:
                await end_unrun(self._access, taken.granted, str(error))
                return None
            await log.let_go(taken, LOOK_AGAIN)
            raise

    async def give_up(self, run_id: str) -> None:
        """End a run that cannot be run here, and that nobody else has taken up, if it was asked to stop."""
        log = self._executor.log
        with suppress(CorruptRecord, Fenced):  # a newer version can read it, or somebody was there first
            record = await self._access.any(run_id)
            if log is None or record is None or record.ended or not (why := self._access.lacks(record)):
                return
            seen = await log.stores.live.enter(run_id, None, due_in=NEVER)  # only to look at it
            if isinstance(seen, Granted) and seen.cancelled and (taken := await log.take(run_id)) is not None:
                await end_unrun(self._access, taken.granted, why)

    def wake(self, run_id: str) -> None:
        """Look now at a run that waits: something was said to it."""
        for waiting in self._waits.get(run_id, ()):
            waiting.set()

    def wake_all(self) -> None:
        """Look now at all runs that wait."""
        for run_id in self._waits:
            self.wake(run_id)

    async def settle(
        self,
        request: RunRequest,
        active: Active | None = None,
        *,
        here: bool | None = None,
        again: bool = False,
        patient: bool = False,
        heard: Callable[[RunStatus], None] = lambda _: None,
    ) -> ExecutionResult:
        """Advance a run, or follow whoever does, until it has ended or waits for a person.

        Args:
            request: The run; its listener is a `Relay`, if there is one.
            active: It has been begun here already.
            here: Whether to advance it when nobody else does; as this driver does by default.
            again: It waited, and somebody may advance it already: look before anything is done.
            patient: Whether to go on, for as long as the record says so, when a store fails.
            heard: Told of each status on the way.

        Raises:
            Exception: as `PlanExecutor.execute`; what a store raised only without patience.
        """
        begun, run_id = active is not None or again, request.context.run_id
        if again:
            found = await self._elsewhere(run_id, heard, request.on_event, LOOK_AGAIN)
            if found is not None:
                return found
        here = self.here if here is None else here
        while here and not self.closing:
            try:
                heard("running")
                joined, active = active, None
                return await self._advance(request, joined)
            except RunHeld as error:
                pause = error.seconds
            except LeaseLost:
                pause = UNAVAILABLE
                await self._rewind(request)
            except Exception as error:  # whatever a store raises; the record says whether the run goes on
                refused = isinstance(error, PlannerError) and not isinstance(error, RunNotRecorded)
                if refused or not (begun and patient):
                    raise
                logger.warning("run %s is tried again: %s: %s", run_id, type(error).__name__, error)
                pause = UNAVAILABLE
            begun = True
            found = await self._elsewhere(run_id, heard, request.on_event, max(pause, PAUSES[0]))
            if found is not None:
                return found
        return await self.watch(run_id, heard, request.on_event)

    async def _advance(self, request: RunRequest, active: Active | None) -> ExecutionResult:
        """Run, or join what was begun for this request.

        Raises:
            RunHeld: another caller of this process advances it, so its events go to another listener.
        """
        run_id = request.context.run_id
        if active is not None:
            return await self._join(active, request)
        if request.on_event is not None and run_id in self._executor.active:
            raise RunHeld(run_id, "another call of this process", LOOK_AGAIN)
        begun = await self._executor.begin(request)
        return begun if isinstance(begun, ExecutionResult) else await self._join(begun, request)

    async def _join(self, active: Active, request: RunRequest) -> ExecutionResult:
        """Wait for a run that goes on here, and count what becomes of it."""
        first = active.waiting == 0
        self.started += first
        try:
            result = await self._executor.join(active, request)
        except LeaseLost:
            self.lost += first and not self.closing
            raise
        except (Exception, asyncio.CancelledError, KeyboardInterrupt, SystemExit):  # as it is; and the rest:
            raise
        except BaseException as error:  # what no action should raise breaks the run, and not whoever waits for it
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        self.ended[result.status] += first
        return result

    async def follow(
        self, run_id: str, identity: RequestIdentity, heard: Callable[[RunStatus], None]
    ) -> ExecutionResult:
        """Wait until a run that this process did not start has ended or waits, and take it up when nobody has it.

        One that nobody has begun is left to those who look for what is due: it may be a copy.
        """
        try:
            record = await self._access.record(run_id, identity)
        except (NewerRecord, StorageUnavailable):  # others can read it, or in a moment we can
            return await self.watch(run_id, heard)
        lacks = "" if record.ended else self._access.lacks(record)
        if lacks and self.here:
            logger.warning("run %s is only followed, it goes on in a process that has its actions: %s", run_id, lacks)
        if record.status in ("running", "compensating") and not lacks:
            with suppress(MissingSecrets):
                request = await self._access.request(record)
                result = await self.settle(request, patient=True, heard=heard)
                if not refused(result):  # which is no end of it
                    return result
        return await self.watch(run_id, heard)

    async def watch(
        self, run_id: str, heard: Callable[[RunStatus], None], listener: ExecutionEventCallback | None = None
    ) -> ExecutionResult:
        """Wait until a run has ended or waits, and leave it to others to advance it."""
        found = await self._elsewhere(run_id, heard, listener, inf)
        if found is None:
            raise AssertionError("it waits for ever")
        return found

    async def tell(self, run_id: str, listener: ExecutionEventCallback) -> None:
        """Tell a listener the events of a run that another call advances, until it has ended."""
        relay = listener if isinstance(listener, Relay) else Relay(listener)
        result = await self.watch(run_id, lambda _: None, relay)
        while result.status == "waiting":
            await self.taken_up(run_id, result)
            result = await self.watch(run_id, lambda _: None, relay)

    async def _elsewhere(
        self,
        run_id: str,
        heard: Callable[[RunStatus], None],
        listener: ExecutionEventCallback | None,
        seconds: float,
    ) -> ExecutionResult | None:
        """Follow a run that another process advances, for so long; `None` when it goes on."""
        until, pause = monotonic() + seconds, PAUSES[0]
        while not self.closing:
            try:
                if (found := await self._look(run_id, heard, listener)) is not None:
                    return found
            except (NewerRecord, StorageUnavailable) as error:
                logger.info("run %s cannot be followed now: %s", run_id, error)
            if monotonic() >= until:
                return None
            await asyncio.sleep(min(pause, max(0.0, until - monotonic())))
            pause = min(2 * pause, PAUSES[1])
        return handed_back(run_id)

    async def _look(
        self, run_id: str, heard: Callable[[RunStatus], None], listener: ExecutionEventCallback | None
    ) -> ExecutionResult | None:
        access = self._access
        record = await access.any(run_id)
        if record is None:
            raise RunNotFound(run_id)
        heard(record.status)
        if isinstance(listener, Relay):
            for event in await access.runs.events(run_id, owner_of(record), after=listener.seq):
                await listener(as_told(event))
        if record.ended:
            return await access.outcome(record)
        asks = record.status == "waiting" and open_questions(record)  # one that was answered goes on in a moment
        return result_of_record(record) if asks else None

    async def asks(self, run_id: str) -> bool:
        """Say whether a run that waited still does, as far as the store can tell."""
        try:
            record = await self._access.any(run_id)
        except (NewerRecord, StorageUnavailable):
            return True
        return record is not None and record.status == "waiting" and len(open_questions(record)) > 0

    async def taken_up(self, run_id: str, result: ExecutionResult) -> None:
        """Wait until a run that waits has been answered, or goes on for another reason."""
        asked, pause = {question.id for question in result.interrupts}, PAUSES[0]
        told = asyncio.Event()
        self._waits.setdefault(run_id, set()).add(told)
        try:
            while not self.closing:
                told.clear()
                try:
                    record = await self._access.any(run_id)
                    if record is None or record.status != "waiting":
                        return
                    if asked - {one.id for one in open_questions(record)}:
                        return
                except (NewerRecord, StorageUnavailable) as error:
                    logger.info("run %s cannot be followed now: %s", run_id, error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await told.wait()
                pause = PAUSES[0] if told.is_set() else min(2 * pause, LONGEST_WAIT)
        finally:
            self._waits[run_id].discard(told)
            if not self._waits[run_id]:
                del self._waits[run_id]

    async def _rewind(self, request: RunRequest) -> None:
        """Have a listener told the events of whoever has taken a run over, from the first."""
        run_id, relay = request.context.run_id, request.on_event
        if isinstance(relay, Relay):
            with suppress(RunNotFound, StorageError):
                relay.rewind(await self._access.runs.events(run_id, request.context.identity))


def refused(result: ExecutionResult) -> bool:
    """Say whether a plan was not run here, which tells nothing of its run."""
    return result.validation is not None and result.status == "failed"


def handed_back(run_id: str, plan_id: str = "") -> ExecutionResult:
    """Return the result of a run of which nothing more is heard here."""
    why = "HandedBack: the planner was closed; the run goes on in another process, or when it is opened again"
    return told(run_id, plan_id, "running", why)


def told(run_id: str, plan_id: str, status: RunStatus, error: str) -> ExecutionResult:
    """Return the result of a run of which no more is known than this."""
    phase = "cancelled" if status == "cancelled" else "failure"
    event = ExecutionEvent(phase, error=error, seq=1, run_id=run_id, time=datetime.now(UTC))
    return ExecutionResult(ok=False, outputs={}, errors=[event], status=status, run_id=run_id, plan_id=plan_id)
