"""The handle on a run that goes on while the caller does something else, here or in another process."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from planner.context import RequestIdentity
from planner.errors import CallbackTimeout, RunConflict, RunNotFound
from planner.execution import ExecutionResult, RunEvent, RunRecord, RunStatus
from planner.execution.active import Active
from planner.execution.bind import fingerprint
from planner.execution.outcome import PendingInterrupt
from planner.execution.request import RunRequest
from planner.execution.secrets import secrets_in
from planner.runs.driving import handed_back, told
from storage.runs import ENDS

if TYPE_CHECKING:
    from planner.runs.service import RunService

logger = logging.getLogger("goalgraph")

OnComplete = Callable[[ExecutionResult], Awaitable[Any] | Any]


class BackgroundExecutionHandle:
    """A run in the background; it is kept alive by its planner, also when nobody keeps the handle.

    Attributes:
        id: The run's id.
        plan_id: The plan's content id.
        callback_error: What `on_complete` raised, if it did; it is logged too.
        error: What kept the run from being followed, such as a store that failed; the result tells it in words.
    """

    def __init__(
        self,
        service: "RunService",
        run_id: str,
        plan_id: str,
        identity: RequestIdentity,
        status: RunStatus = "pending",
        *,
        request: RunRequest | None = None,
        begun: Active | ExecutionResult | None = None,
    ) -> None:
        """`request` is given where the run was started, and `begun` when it goes on here, or has ended."""
        self.id = run_id
        self.plan_id = plan_id
        self.callback_error: BaseException | None = None
        self.error: BaseException | None = None
        self._service = service
        self._identity = identity
        self._request = request
        self._active = begun if isinstance(begun, Active) else None
        self._result = begun if isinstance(begun, ExecutionResult) else None
        self._status: RunStatus = status if self._result is None else self._result.status
        if self._active is not None:
            self._status = "running"
        self._callbacks: list[OnComplete] = []
        self._settled = asyncio.Event()
        """Set when the run has ended, or waits for a person."""
        self._task: asyncio.Task[ExecutionResult] | None = None

    # ------------------------------------------------------------------------------------------------ the seed's part

    def done(self) -> bool:
        """Whether the run has ended and `on_complete` was called, as far as it was heard, or its planner was closed."""
        return self._task.done() if self._task is not None else self._status in ENDS

    def cancelled(self) -> bool:
        """Whether the run ended as cancelled."""
        return self.done() and self._status == "cancelled"

    def cancel(self) -> bool:
        """Ask the run to stop, wherever it is advanced: its actions are cancelled and nothing new starts.

        Returns:
            Whether the run was still going on. `wait()` returns what became of it, which may still be a success.
        """
        if self.done() or self._status in ENDS or self._status == "compensating":
            return False
        self._service.stop(self.id, self._identity)
        return True

    def status(self) -> RunStatus:
        """Return where the run is, as far as this handle has heard; `refresh()` asks the store."""
        return self._status

    async def wait(self, *, end: bool = False) -> ExecutionResult:
        """Return the result, after `on_complete` was called. Cancelling the wait does not cancel the run.

        Args:
            end: Wait also while the run waits for a person; otherwise that is a result too, with the status `waiting`.
        """
        task = self.follow()
        while not task.done():
            settled = asyncio.create_task(self._settled.wait())
            try:
                waits = {task} if end else {task, settled}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                settled.cancel()
            asked = self._result
            if end or task.done() or asked is None or not self._settled.is_set():
                continue
            if await self._service.driver.asks(self.id):
                return asked
            if self._result is asked:  # it has been answered, and the task will hear of it
                self._settled.clear()
        return task.result()

    # ---------------------------------------------------------------------------------------------------- and the rest

    def check(self, request: RunRequest) -> None:
        """Make sure that `request` means this run.

        Raises:
            RunConflict: it is of another plan, or has other inputs.
        """
        if request.plan.id != self.plan_id:
            raise RunConflict(f"run {self.id!r} was started with another plan ({self.plan_id}); use a new exec_id")
        known = self._request
        if known is not None and fingerprint(known.user_inputs) != fingerprint(request.user_inputs):
            raise RunConflict(f"run {self.id!r} was started with other user inputs; use a new exec_id")

    async def refresh(self) -> RunRecord:
        """Return the run's record as it is now.

        Raises:
            RunNotFound: it is not there any more.
        """
        record = await self._service.record(self.id, self._identity)
        self._status = record.status
        return record

    def events(self, *, after: int = 0) -> AsyncIterator[RunEvent]:
        """Follow the run's events with `seq > after`, from the first by default, until it has ended."""
        return self._service.events(self.id, self._identity, after=after)

    async def questions(self) -> Sequence[PendingInterrupt]:
        """Return what the run asks now; empty when it does not wait."""
        return await self._service.questions(self.id, self._identity)

    async def answer(self, value: Any, question: str | None = None) -> None:
        """Answer a question of the run, which then goes on. Raises: see `RunService.answer`."""
        await self._service.answer(self.id, value, question=question, identity=self._identity)
        self._settled.clear()

    async def decide(
        self, step_id: str, decision: Literal["retry", "succeeded", "failed"], *, value: Any = None, error: str = ""
    ) -> None:
        """Say what became of a step that was in flight when its process died. Raises: see `RunService.decide`."""
        await self._service.decide(self.id, step_id, decision, value=value, error=error, identity=self._identity)
        self._settled.clear()

    async def resume(self, user_inputs: Mapping[str, Any] | None = None) -> None:
        """Have the run taken up now; with inputs that its record does not hold, such as secrets, in this process."""
        await self._service.resume(self.id, user_inputs=user_inputs, identity=self._identity)
        self._settled.clear()

    async def retry(self) -> "BackgroundExecutionHandle":
        """Begin the run anew, after it failed or was cancelled; outcomes that still hold are kept."""
        return await self._service.retry(self.id, identity=self._identity)

    async def rerun(
        self, user_inputs: Mapping[str, Any] | None = None, *, exec_id: str | None = None
    ) -> "BackgroundExecutionHandle":
        """Run the same plan again, as another run, with other inputs where they are given."""
        return await self._service.rerun(self.id, user_inputs=user_inputs, exec_id=exec_id, identity=self._identity)

    async def copy(self, *, exec_id: str | None = None) -> "BackgroundExecutionHandle":
        """Make another run of the same plan and inputs, which is begun by its `resume()`."""
        return await self._service.copy(self.id, exec_id=exec_id, identity=self._identity)

    def attach(self, on_complete: OnComplete) -> None:
        """Call `on_complete` as well, when the run has ended."""
        self._callbacks.append(on_complete)
        if self._task is not None and self._task.done():  # it has called those that were there, and knows the end
            self._task = None
        self.follow()

    # ------------------------------------------------------------------------------------------------------- following

    def follow(self) -> "asyncio.Task[ExecutionResult]":
        """Begin to follow the run, if nobody does; the planner holds the task."""
        if self._task is None or (self._task.done() and self._status not in ENDS):
            self._task = asyncio.create_task(self._drive(), name=f"goalgraph-background-{self.id}")
            self._service.going.hold(self._task, self)
        return self._task

    async def _drive(self) -> ExecutionResult:
        """Follow the run to its end, then call back exactly once, whatever the end was."""
        try:
            result = await self._settle()
        except asyncio.CancelledError:  # the event loop closes, or somebody cancelled the task itself
            if self._service.driver.closing:
                return handed_back(self.id, self.plan_id)
            await self._complete(told(self.id, self.plan_id, "cancelled", "the task was cancelled"))
            raise
        except RunNotFound as error:  # it was deleted; or it was seen only as long as it asked, which is no end of it
            self.error = error
            result = told(self.id, self.plan_id, "running", f"RunNotFound: {error}; nothing more is heard of it here")
        except BaseException as error:  # a store that failed, or what no action should raise: its caller has to hear
            logger.exception("background run %s cannot be followed", self.id)
            self.error = error
            result = told(self.id, self.plan_id, "failed", f"{type(error).__name__}: {error}")
        await self._complete(result)
        return result

    async def _settle(self) -> ExecutionResult:
        driver, result = self._service.driver, self._result
        active, self._active = self._active, None
        waited = False
        while result is None or result.status not in ENDS:
            if driver.closing:
                return handed_back(self.id, self.plan_id)
            if self._request is None:
                result = await driver.follow(self.id, self._identity, self.heard)
            else:
                result = await driver.settle(self._request, active, again=waited, patient=True, heard=self.heard)
            active, waited = None, True
            self._status, self._result = result.status, result
            if result.status != "waiting":
                return result
            self._settled.set()
            await driver.taken_up(self.id, result)
            self._settled.clear()
        return result

    def heard(self, status: RunStatus) -> None:
        """Take note of a status of the run."""
        self._status = status

    async def _complete(self, result: ExecutionResult) -> None:
        self._status, self._result = result.status, result
        if result.status not in ENDS:  # the planner is closed, and the run goes on elsewhere
            return
        limit = self._service.limits.callback_timeout.total_seconds()
        while self._callbacks:
            try:
                answer = self._callbacks.pop(0)(result)
                if inspect.isawaitable(answer):
                    async with asyncio.timeout(limit):
                        await answer
            except Exception as error:  # a callback must not change the outcome of the run
                late = isinstance(error, TimeoutError)
                self.callback_error = CallbackTimeout(f"on_complete took longer than {limit:g} s") if late else error
                logger.exception("on_complete of run %s failed", self.id)
                known = self._request
                secrets = secrets_in(known.user_inputs) if known else await self._service.access.secrets(self.id)
                await self._service.note(self.id, self.callback_error, secrets)
