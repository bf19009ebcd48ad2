"""`RunService`: starts runs, finds them again from any process, and does with them what people ask for."""

import asyncio
import logging
from collections import ChainMap
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from planner.context import RequestIdentity
from planner.errors import RunCompensating, RunEnded, RunHeld, RunNotFound
from planner.execution import ExecutionResult, Found, RunEvent, RunRecord, RunRequest
from planner.execution.active import Active
from planner.execution.executor import PlanExecutor
from planner.execution.outcome import PendingInterrupt
from planner.execution.recorded import lacks_inputs
from planner.execution.run_fields import callback_failed
from planner.execution.run_log import RunLog
from planner.runs.access import RunAccess, SecretProvider, open_questions
from planner.runs.admission import Admission
from planner.runs.anew import to_rerun, to_retry
from planner.runs.closing import end, leave
from planner.runs.driving import Driver, relayed
from planner.runs.engine import ExecutionEngine, LocalEngine
from planner.runs.following import follow
from planner.runs.going import Going
from planner.runs.handle import BackgroundExecutionHandle, OnComplete
from planner.runs.notifier import Notifier
from planner.runs.people import give_answer, give_decision
from planner.runs.policy import RunPolicy
from planner.runs.stopping import NEVER, ask_to_stop, quietly
from planner.runs.sweeper import Sweeper
from storage.errors import StorageError

logger = logging.getLogger("goalgraph")

SUBMIT_GRACE = 5.0
"""Seconds that an engine has to wake somebody up for a new run, before sweepers look for it too."""


class RunService:
    """The runs of one planner.

    Args:
        executor: Advances them; it has a log.
        policy: How this process takes part.
        engine: Wakes somebody up to advance a run; by default this process does it.
        callbacks: Functions that a run may name as its durable callback.
        secrets: Gives the secrets of runs that are taken up from another process.
        resources: What parameters marked `Resource("name")` receive.
    """

    def __init__(
        self,
        executor: PlanExecutor,
        *,
        policy: RunPolicy | None = None,
        engine: ExecutionEngine | None = None,
        callbacks: Mapping[str, OnComplete] | None = None,
        secrets: SecretProvider | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        if executor.log is None:
            raise ValueError("runs are kept in a store; give the executor one")
        self.policy = policy or RunPolicy()
        self.limits = executor.limits
        self.engine: ExecutionEngine = engine or LocalEngine()
        self.log: RunLog = executor.log
        self._executor = executor
        self.access = RunAccess(self.log.stores, executor, secrets, resources)
        live, sweep = self.log.stores.live, self.policy.sweep
        self.driver = Driver(self.access, here=self.engine.local and self.policy.advance)
        self.sweeper = Sweeper(
            live,
            mine=self.access.is_ours,
            take_up=self.engine.submit,
            give_up=self.driver.give_up,
            every=sweep,
            put_off=max(5.0, 2 * sweep),
            room=lambda: self.policy.slots - self.driver.busy,
        )
        self.driver.on_free, self.driver.on_refused = self.sweeper.freed, self.sweeper.leave
        patience = self.limits.callback_timeout.total_seconds()
        registered = ChainMap(dict(callbacks or {}), executor.catalog.callbacks)
        self.notifier = Notifier(live, self.access, registered, every=sweep, timeout=patience)
        self._admission = Admission(self.access, self.limits)
        self.going = Going(self._look_after)
        self._opened = False

    # ------------------------------------------------------------------------------------------------- opening, closing

    async def open(self) -> None:
        """Begin to take part: take up what is due now, and look for it from time to time.

        Raises:
            PlannerClosed: it was closed.
        """
        self.access.check()
        if not self._opened and self.policy.advance:
            self._opened = True
            await self.engine.start(self.driver.advance)
            if self.policy.survive:
                self.sweeper.start()
                self.notifier.start()

    async def aclose(self) -> None:
        """Advance nothing more: what goes on is left to other processes, or cancelled where it would die with this one.

        Actions that work now have `policy.grace` seconds to finish.
        """
        await self.sweeper.close()
        if self.policy.survive:
            await leave(self._executor, self.driver, self.engine, self.going, self.policy.grace)
        else:
            await end(self._executor, self.engine, self.going)
        await self.notifier.close()
        await asyncio.to_thread(self._executor.close)
        self.access.closed = True

    async def recover(self) -> int:
        """Take up the runs that are due and can be run here: their process died, or they were answered.

        Returns:
            How many there were.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        await self.open()
        return await self.sweeper.recover()

    def _look_after(self) -> None:
        """Where runs end with this process, look for those that are due only while something goes on."""
        if self._opened and not self.policy.survive:
            self.sweeper.start() if self.going else self.sweeper.rest()

    # ---------------------------------------------------------------------------------------------------------- running

    async def execute(self, request: RunRequest) -> ExecutionResult:
        """Run a plan and return what became of it; when another process advances it, wait for that one.

        Raises:
            RunConflict: the id is that of another run. TooManyRuns: there are as many as may be.
            RunNotRecorded: the store does not take the record, so nothing was started.
        """
        if request.dry_run:
            return await self._executor.execute(request)
        await self.open()
        await self._admission.check(request.context)
        return await self.driver.settle(relayed(request), here=True)

    async def start(
        self, request: RunRequest, on_complete: OnComplete | str | None = None
    ) -> BackgroundExecutionHandle:
        """Run a plan in the background; when this returns, the run is recorded.

        Args:
            request: What is to be run.
            on_complete: Called with the result, exactly once while this process lives; or the name of a registered
                callback or a URL, which is told at least once by whichever process lives.

        Raises:
            Exception: as `execute`.
        """
        await self.open()
        known = self.going.find(request.context.run_id, request.context.identity)
        if known is not None:
            known.check(request)
        durable = (on_complete,) if isinstance(on_complete, str) else ()
        if durable and self._opened:
            self.notifier.start()
        if known is not None and not known.done() and known.status() != "waiting":
            await self._call_back(request, durable)
            self._tell(request)
        else:
            await self._admission.check(request.context)
            known = await self._begin(relayed(request), durable)
        if callable(on_complete):
            known.attach(on_complete)
        known.follow()
        return known

    async def _begin(self, request: RunRequest, calls: Sequence[str]) -> BackgroundExecutionHandle:
        """Have a run advanced here, or by whoever the engine wakes up."""
        if self.driver.here:
            try:
                begun = await self._executor.begin(request, calls)
            except RunHeld:
                begun = None
            ours = begun if isinstance(begun, Active) and begun.request is request else None
            if ours is None or not ours.new:
                await self._call_back(request, calls)
            if ours is None and isinstance(begun, Active):
                self._tell(request)
            return self._handle(request, begun)
        refused = await self._executor.check(request)
        if refused is not None:
            return self._handle(request, refused)
        if not await self.log.submit(request, calls=calls, due_in=0.0 if self.engine.local else SUBMIT_GRACE):
            await self._call_back(request, calls)
        return await self._taken_up(request)

    def _tell(self, request: RunRequest) -> None:
        """Have the listener told of a run whose own listener is that of another call."""
        if request.on_event is not None:
            work = self.driver.tell(request.context.run_id, request.on_event)
            self.going.hold(asyncio.create_task(work, name=f"goalgraph-tell-{request.context.run_id}"))

    async def _call_back(self, request: RunRequest, calls: Sequence[str]) -> None:
        """Add callbacks to a run that was there before they were asked for; one that was refused has none."""
        for target in calls:
            with suppress(RunNotFound):  # or it is somebody else's, whose end is not told
                await self.access.owned(request.context.run_id, request.context.identity)
                await self.log.stores.live.add(request.context.run_id, target)
                self.notifier.wake()

    def _handle(self, request: RunRequest, begun: Active | ExecutionResult | None = None) -> BackgroundExecutionHandle:
        run_id, identity = request.context.run_id, request.context.identity
        handle = BackgroundExecutionHandle(self, run_id, request.plan.id, identity, request=request, begun=begun)
        return self.going.add(handle, identity)

    async def _submit(self, run_id: str) -> None:
        """Wake somebody up; when that fails, the sweeper finds the run."""
        self.driver.wake(run_id)
        try:
            await self.engine.submit(run_id)
        except Exception as error:  # noqa: BLE001 - any engine may be behind the protocol, and none is relied on
            logger.warning("run %s could not be handed to the engine, and waits to be found: %s", run_id, error)

    # ---------------------------------------------------------------------------------------------------------- finding

    async def get(self, run_id: str, identity: RequestIdentity) -> BackgroundExecutionHandle:
        """Return the handle on a run, in whichever process it was started.

        Raises:
            RunNotFound: there is no such run for `identity`.
        """
        await self.open()
        record = await self.access.record(run_id, identity)
        known = self.going.find(run_id, identity)
        if known is None:
            known = self.going.add(BackgroundExecutionHandle(self, run_id, record.plan_id, identity), identity)
        known.heard(record.status)
        return known

    async def list(self, identity: RequestIdentity, **asked: Any) -> Found[RunRecord]:
        """Return runs; see `Runs.list`."""
        self.access.check()
        return await self.access.runs.list(identity, **asked)

    async def record(self, run_id: str, identity: RequestIdentity) -> RunRecord:
        """Return the record of a run. Raises: as `get`."""
        return await self.access.record(run_id, identity)

    async def questions(self, run_id: str, identity: RequestIdentity) -> Sequence[PendingInterrupt]:
        """Return what a run asks now. Raises: as `get`."""
        return open_questions(await self.access.record(run_id, identity))

    def events(self, run_id: str, identity: RequestIdentity, *, after: int = 0) -> AsyncIterator[RunEvent]:
        """Follow the events of a run until it has ended. Raises: as `get`, when it is iterated."""
        self.access.check()
        return follow(self.access.runs, run_id, identity, after=after)

    # -------------------------------------------------------------------------------------------- what people ask for

    async def cancel(self, run_id: str, identity: RequestIdentity) -> Literal["asked", "ended"]:
        """Ask a run to stop, wherever it is advanced.

        Returns:
            `ended` when it had not been begun, so that it is over now; otherwise whoever has it stops it.

        Raises:
            RunNotFound: there is no such run for `identity`. RunEnded: it has ended.
            RunCompensating: what it had done is being undone.
        """
        record = await self.access.owned(run_id, identity)
        if record.ended:
            raise RunEnded(run_id, record.status)
        if record.status == "compensating":
            raise RunCompensating(run_id)
        answer = await ask_to_stop(self.access, record)
        if answer == "over":
            raise RunEnded(run_id, (await self.access.owned(run_id, identity)).status)
        self._executor.cancel(run_id, identity)
        if answer == "asked":
            await self._submit(run_id)
        self.notifier.wake()
        return answer

    def stop(self, run_id: str, identity: RequestIdentity) -> None:
        """As `cancel`, without waiting; what it raises is logged."""
        self._executor.cancel(run_id, identity)
        self.going.hold(asyncio.create_task(quietly(run_id, self.cancel(run_id, identity))))

    async def note(self, run_id: str, error: BaseException, secrets: Mapping[str, str]) -> None:
        """Record that a callback failed; the run is as it was."""
        change = callback_failed(run_id, error, secrets, self.log.stores.codec)
        try:
            await self.log.stores.records.append(change)
        except StorageError as failure:
            logger.warning("run %s: that its callback failed could not be recorded: %s", run_id, failure)

    async def answer(self, run_id: str, value: Any, *, question: str | None = None, identity: RequestIdentity) -> None:
        """Answer a question of a run, which then goes on. Raises: see `give_answer`."""
        await give_answer(self.access, run_id, value, question, identity)
        await self._submit(run_id)

    async def decide(
        self,
        run_id: str,
        step_id: str,
        decision: Literal["retry", "succeeded", "failed"],
        *,
        value: Any = None,
        error: str = "",
        identity: RequestIdentity,
    ) -> None:
        """Say what became of a step that was in flight when its process died. Raises: see `give_answer`."""
        await give_decision(self.access, run_id, step_id, decision, value=value, error=error, identity=identity)
        await self._submit(run_id)

    async def resume(
        self, run_id: str, *, user_inputs: Mapping[str, Any] | None = None, identity: RequestIdentity
    ) -> None:
        """Have a live run taken up now; with inputs that its record does not hold, in this process.

        Raises:
            RunNotFound: there is no such run for `identity`. RunEnded: it has ended.
        """
        record = await self.access.owned(run_id, identity)
        if record.ended:
            raise RunEnded(run_id, record.status)
        if not user_inputs:
            await self.log.stores.live.enter(run_id, None)  # it is due now, should the engine lose what it is told
            await self._submit(run_id)
            return
        request = await self.access.request(record, user_inputs)
        self.going.hold(
            asyncio.create_task(self.driver.settle(request, here=True, patient=True), name=f"goalgraph-resume-{run_id}")
        )

    async def retry(
        self,
        run_id: str,
        *,
        user_inputs: Mapping[str, Any] | None = None,
        undo_again: bool = False,
        identity: RequestIdentity,
    ) -> BackgroundExecutionHandle:
        """Begin a run anew that failed or was cancelled: outcomes that still hold are kept, what was undone runs again.

        Args:
            run_id: The run.
            user_inputs: Inputs that its record does not hold, such as secrets.
            undo_again: Call only the undos again that failed, and nothing else.
            identity: Who asks.

        Raises:
            RunNotFound: there is no such run for `identity`. RunNotEnded: it is live. RunEnded: it succeeded.
            MissingSecrets: inputs that its record does not hold are not given. TooManyRuns: as `execute`.
        """
        await self.open()
        request = await to_retry(self.access, run_id, user_inputs, identity, undo_again=undo_again)
        await self._admission.check(request.context, again=True)
        await self.log.submit(request, again=True)
        return await self._taken_up(request)

    async def rerun(
        self,
        run_id: str,
        *,
        user_inputs: Mapping[str, Any] | None = None,
        exec_id: str | None = None,
        identity: RequestIdentity,
    ) -> BackgroundExecutionHandle:
        """Run the plan of a run again, as another run, with other inputs where they are given. Raises: as `start`."""
        return await self.start(await to_rerun(self.access, run_id, user_inputs, exec_id, identity))

    async def copy(
        self, run_id: str, *, exec_id: str | None = None, identity: RequestIdentity
    ) -> BackgroundExecutionHandle:
        """Record another run of the same plan and inputs, which is begun by `resume`. Raises: as `start`."""
        await self.open()
        request = await to_rerun(self.access, run_id, None, exec_id, identity)
        await self._admission.check(request.context)
        await self.log.submit(request, due_in=NEVER)
        return await self.get(request.context.run_id, identity)

    async def _taken_up(self, request: RunRequest) -> BackgroundExecutionHandle:
        """Have a recorded run advanced; here, when nobody else can know its inputs."""
        handle = self._handle(request)
        if lacks_inputs(request):
            handle.follow()
        else:
            await self._submit(handle.id)
        return handle
