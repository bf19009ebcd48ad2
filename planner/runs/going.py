"""What goes on in this process on behalf of callers: nothing of it is left to the garbage collector."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from planner.context import RequestIdentity
from planner.runs.handle import BackgroundExecutionHandle

logger = logging.getLogger("goalgraph")

_Holder = tuple[str, str, str, frozenset[str]]


class Going:
    """Tasks that are under way, and the handles that callers have.

    Args:
        changed: Called when a task was begun, or has ended.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._handles: WeakValueDictionary[_Holder, BackgroundExecutionHandle] = WeakValueDictionary()
        self._tasks: dict[asyncio.Task[Any], BackgroundExecutionHandle | None] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, run_id: str, identity: RequestIdentity) -> BackgroundExecutionHandle | None:
        """Return the handle that somebody has on a run, if there is one."""
        return self._handles.get(_holder(run_id, identity))

    def add(self, handle: BackgroundExecutionHandle, identity: RequestIdentity) -> BackgroundExecutionHandle:
        """Let a handle be found, for as long as somebody has it."""
        self._handles[_holder(handle.id, identity)] = handle
        return handle

    def hold(self, task: "asyncio.Task[Any]", handle: BackgroundExecutionHandle | None = None) -> None:
        """Keep a task until it is done, and its handle with it."""
        self._tasks[task] = handle
        task.add_done_callback(self._let_go)
        self._changed()

    def cancel(self) -> None:
        """Ask the runs to stop whose end somebody waits for."""
        for handle in set(filter(None, self._tasks.values())):
            handle.cancel()

    def drop(self) -> None:
        """Wait for nothing more."""
        for task in self._tasks:
            task.cancel()

    def _let_go(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]
        self._changed()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s: %s: %s", task.get_name(), type(error).__name__, error)


def _holder(run_id: str, identity: RequestIdentity) -> _Holder:
    """Return whose handle on a run it is: a handle answers with the roles that its holder had."""
    return run_id, identity.org_id, identity.user_id, frozenset(identity.roles)
