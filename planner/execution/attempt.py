"""Calling one action: timeouts, retries, and turning what it returns or raises into plain facts."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base

from planner.catalog import ActionSpec, Codecs, conform, to_plain
from planner.catalog.values import Codec
from planner.errors import AnswerTimeout, BindingError, InvalidAnswer, LimitExceeded, PlannerError, UnstorableOutput
from planner.execution.secrets import secret_within
from planner.plan.bindings import show
from planner.plan.value_check import brief, literal_faults
from storage.errors import StorageError

T = TypeVar("T")

LINGER = 5.0
"""Seconds that a cancelled action may take to clean up before it is left behind."""


class AttemptTimeout(PlannerError, TimeoutError):
    """An action did not finish within its timeout."""


class ActionExit(PlannerError, RuntimeError):
    """An action tried to exit the process."""


class DecidedFailed(PlannerError, RuntimeError):
    """A person decided that an action that was in flight at a crash has failed."""


class FlowAttemptFailed(PlannerError):
    """An attempt of a flow failed; the attempt is a task of its own, so its error comes back as what was recorded."""

    def __init__(self, error_type: str, message: str, *, retried: bool) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.retried = retried


class Stopped(Exception):
    """The run was cancelled, or met a bound, while the action worked."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What an action returned, checked and ready to be stored."""

    value: Any
    """Plain data; `None` where a part has a codec."""
    encoded: Sequence[tuple[Sequence[str | int], Codec, bytes]]
    size: int


class InnerTasks:
    """The actions that work now, so that a run can stop them. One that ignores its cancellation is left behind."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        """Each with a future that ends the wait for it."""
        self._stopped = False

    def stop(self) -> None:
        """Cancel everything that works, and let nothing begin; after `LINGER` nobody waits any more."""
        self._stopped = True
        for task in self._running:
            task.cancel()
        asyncio.get_running_loop().call_later(LINGER, self._leave_all)

    async def idle(self, timeout: float) -> None:
        """Wait until nothing works, but not longer than `timeout` seconds."""
        while self._running and timeout > 0:
            began = asyncio.get_running_loop().time()
            await asyncio.wait(set(self._running), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)  # so that whoever waited for it takes it off
            timeout -= asyncio.get_running_loop().time() - began

    async def run(self, work: Coroutine[Any, Any, Any], timeout: timedelta) -> Any:
        """Run `work` as a task of its own and return what it returns.

        Raises:
            AttemptTimeout: it took longer than `timeout`.
            Stopped: `stop` was called, now or before.
        """
        if self._stopped:
            work.close()
            raise Stopped
        task, left = asyncio.create_task(work), asyncio.get_running_loop().create_future()
        self._running[task] = left
        try:
            await asyncio.wait((task, left), timeout=timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            if self._stopped:
                raise Stopped
            if task.cancelled():
                raise ActionExit("the action was cancelled by itself")
            await self._leave(task)
            raise AttemptTimeout(f"it did not finish within {timeout.total_seconds():g} s")
        except asyncio.CancelledError:
            await self._leave(task)
            raise
        finally:
            del self._running[task]

    def _leave_all(self) -> None:
        for left in self._running.values():
            if not left.done():
                left.set_result(None)

    @staticmethod
    async def _leave(task: asyncio.Task[Any]) -> None:
        task.cancel()
        await asyncio.wait({task}, timeout=LINGER)
        if task.done() and not task.cancelled():
            task.exception()  # whatever it raised on its way out is not what the step reports


async def guarded(call: Callable[[], Awaitable[Any]]) -> Any:
    """Await an action; `SystemExit` would end the event loop, so it becomes an error of the action."""
    try:
        return await call()
    except (SystemExit, GeneratorExit) as error:
        raise ActionExit(f"the action tried to exit the process ({error!r})") from error


def check_output(spec: ActionSpec, value: Any, codecs: Codecs, limit: int, secrets: Mapping[str, str]) -> Returned:
    """Turn what an action returned into plain data of the declared type.

    Raises:
        UnstorableOutput: a part is neither plain nor has a codec, or holds a secret.
        BindingError: it is not what the action declares.
        LimitExceeded: it is larger than `limit` bytes.
    """
    plain = to_plain(value, codecs)
    size = plain.size + sum(len(content) for _, _, content in plain.encoded)
    if size > limit:
        raise LimitExceeded(
            "output_bytes", f"{spec.name} returned about {size:,} bytes, more than the {limit:,} of one output"
        )
    if (name := secret_within(plain.value, secrets)) is not None:
        raise UnstorableOutput(f"{spec.name} returned the secret {name!r}; outputs are stored, so leave it out")
    returns = spec.returns
    if returns is not None and returns.adapter is not None:
        # parts with a codec are gone from the plain form, so there the value itself is checked
        conform(returns.adapter, value if plain.encoded else plain.value, f"the output of {spec.name}")
    elif returns is not None and returns.schema and not plain.encoded:
        fault = next(literal_faults(plain.value, returns), None)
        if fault is not None:
            where = f" at {show(fault[0])}" if fault[0] else ""
            raise BindingError(f"the output of {spec.name}", f"it is not {brief(returns.schema)}{where}")
    return Returned(plain.value, plain.encoded, size)


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    retried: Callable[[BaseException], bool],
    *,
    on_retry: Callable[[int, BaseException], None],
    pause: Callable[[float], Awaitable[None]],
) -> T:
    """Call `attempt(1)`, `attempt(2)` … as `policy` says, and return or raise what the last one did.

    Args:
        attempt: One call, by its number.
        policy: How often, and after what time.
        retried: Whether there may be another attempt after an error.
        on_retry: Told of an attempt that failed, before the next one.
        pause: Waits between two attempts.
    """

    def tell(state: RetryCallState) -> None:
        if state.outcome is not None and (error := state.outcome.exception()) is not None:
            on_retry(state.attempt_number, error)

    if policy.max_attempts == 1:
        return await attempt(1)
    retrying = AsyncRetrying(
        stop=stop_after_attempt(policy.max_attempts),
        wait=_Backoff(policy),
        retry=retry_if_exception(retried),
        before_sleep=tell,
        sleep=pause,
        reraise=True,
    )
    async for turn in retrying:
        with turn:
            return await attempt(turn.retry_state.attempt_number)
    raise AssertionError("tenacity returns or raises")


class _Backoff(wait_base):
    """LangGraph's back-off: an interval that grows by a factor up to a maximum, with up to a second of jitter."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    def __call__(self, retry_state: RetryCallState) -> float:
        grown = self.policy.initial_interval * self.policy.backoff_factor ** (retry_state.attempt_number - 1)
        jitter = random.uniform(0, min(1, grown)) if self.policy.jitter else 0  # noqa: S311 - no cryptography
        return min(grown, self.policy.max_interval) + jitter


def is_retried(error: BaseException, policy: RetryPolicy) -> bool:
    """Tell whether `policy` makes another attempt after `error`."""
    if not isinstance(error, Exception) or isinstance(error, GraphBubbleUp | Stopped | StorageError):
        return False
    if isinstance(error, AnswerTimeout | InvalidAnswer):
        return False  # the same question would get the same answer
    if isinstance(error, FlowAttemptFailed):
        return error.retried
    if isinstance(error, AttemptTimeout):
        return True  # a timeout is what retries are for, whatever else the policy lists
    wanted: Any = policy.retry_on
    if isinstance(wanted, type):
        return isinstance(error, wanted)
    if isinstance(wanted, Sequence):
        return isinstance(error, tuple(cast("Sequence[type[Exception]]", wanted)))
    return bool(wanted(error))
