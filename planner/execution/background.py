"""Runs that go on while the caller does something else, and the handles on them."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

from planner.errors import RunConflict, RunNotRecorded
from planner.execution.executor import PlanExecutor
from planner.execution.outcome import ExecutionResult, RunStatus
from planner.execution.request import RunRequest
from planner.execution.summary import not_advanced

logger = logging.getLogger("goalgraph")

OnComplete = Callable[[ExecutionResult], Awaitable[Any] | Any]


class BackgroundExecutionHandle:
    """A run in the background; the run is kept alive by its planner, also when nobody keeps the handle.

    Attributes:
        id: The run's id.
        plan_id: The plan's content id.
        callback_error: What `on_complete` raised, if it did; it is logged too.
        error: What kept the run from being advanced, such as a store that failed; the result tells it in words.
    """

    def __init__(self, executor: PlanExecutor, request: RunRequest, on_complete: OnComplete | None) -> None:
        self.id = request.context.run_id
        self.plan_id = request.plan.id
        self.callback_error: BaseException | None = None
        self.error: BaseException | None = None
        self._executor = executor
        self._request = request
        self._callbacks: list[OnComplete] = [] if on_complete is None else [on_complete]
        self._cancelled = False
        self._status: RunStatus = "pending"
        self.task: asyncio.Task[ExecutionResult] = asyncio.create_task(
            self._drive(), name=f"goalgraph-background-{self.id}"
        )

    def done(self) -> bool:
        """Whether the run has ended and `on_complete` has been called."""
        return self.task.done()

    def cancelled(self) -> bool:
        """Whether the run ended as cancelled."""
        return self.task.done() and self._status == "cancelled"

    def cancel(self) -> bool:
        """Ask the run to stop: its actions are cancelled and nothing new starts.

        Returns:
            Whether the run was still going on. `wait()` returns what became of it, which may still be a success.
        """
        if self.task.done() or self._status not in ("pending", "running"):
            return False
        self._cancelled = True
        self._executor.cancel(self.id)
        return True

    def status(self) -> RunStatus:
        """Return where the run is now."""
        return self._status

    async def wait(self) -> ExecutionResult:
        """Return the result, after `on_complete` was called. Cancelling the wait does not cancel the run."""
        return await asyncio.shield(self.task)

    async def _drive(self) -> ExecutionResult:
        """Run, then call back exactly once, whatever the end was."""
        try:
            result = await self._run()
        except asyncio.CancelledError:  # the event loop closes, or somebody cancelled the task itself
            await self._complete(self._ended("cancelled", "Cancelled: the background task was cancelled"))
            raise
        except RunNotRecorded as error:  # nothing was started, and it says why
            self.error = error
            result = self._ended("failed", f"RunNotRecorded: {error}")
        except BaseException as error:  # a store that failed, or what no action should raise: its caller has to hear
            logger.exception("background run %s failed", self.id)
            self.error = error
            result = self._ended("failed", f"{type(error).__name__}: {error}")
        await self._complete(result)
        return result

    async def _run(self) -> ExecutionResult:
        if self._cancelled:
            return self._ended("cancelled", "Cancelled: it was cancelled before it started")
        self._status = "running"
        return await self._executor.execute(self._request)

    def attach(self, on_complete: OnComplete) -> None:
        """Call `on_complete` as well, when the run has ended."""
        self._callbacks.append(on_complete)

    async def _complete(self, result: ExecutionResult) -> None:
        self._status = result.status
        while self._callbacks:
            try:
                answer = self._callbacks.pop(0)(result)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as error:  # a callback must not change the outcome of the run
                self.callback_error = error
                logger.exception("on_complete of run %s failed", self.id)

    def _ended(self, status: RunStatus, error: str) -> ExecutionResult:
        return not_advanced(self._request, status, error)


class BackgroundRuns:
    """The background runs of one planner. The same id is the same run."""

    def __init__(self, executor: PlanExecutor) -> None:
        self._executor = executor
        self._going: set[BackgroundExecutionHandle] = set()
        self._known: WeakValueDictionary[str, BackgroundExecutionHandle] = WeakValueDictionary()

    def start(self, request: RunRequest, on_complete: OnComplete | None) -> BackgroundExecutionHandle:
        """Start a run, or return the handle of the one with this id that is under way.

        A run that has ended, or waits, is handed to the executor again: with a checkpointer it is resumed or returned.

        Raises:
            RunConflict: the id belongs to a run of another plan.
        """
        known = self._known.get(request.context.run_id)
        if known is not None and known.plan_id != request.plan.id:
            raise RunConflict(f"run {known.id!r} was started with another plan ({known.plan_id}); use a new exec_id")
        if known is not None and not known.done():
            if on_complete is not None:
                known.attach(on_complete)
            return known
        handle = BackgroundExecutionHandle(self._executor, request, on_complete)
        self._known[handle.id] = handle
        self._going.add(handle)
        handle.task.add_done_callback(lambda _: self._going.discard(handle))
        return handle

    async def close(self) -> None:
        """Cancel what is under way and wait for it."""
        for handle in list(self._going):
            handle.cancel()
        if self._going:
            await asyncio.wait({handle.task for handle in self._going})
