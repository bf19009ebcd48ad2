"""What becomes of a run that this process can advance no further."""

import asyncio
from dataclasses import replace

from planner.errors import LeaseLost, PlannerError, UnknownAction
from planner.execution.keeper import News
from planner.execution.outcome import ExecutionResult
from planner.execution.request import RunRequest
from planner.execution.run_writer import RunWriter
from planner.execution.secrets import error_text, secrets_in
from planner.execution.state import RunState
from planner.execution.summary import not_advanced
from storage.errors import CorruptRecord, Fenced, NewerRecord, StorageError, StorageUnavailable

MOST_CRASHES = 3
"""Processes in a row that died with a run in which nothing was finished; then it is ended as poisoned."""
MOST_BROKEN = 5
"""Executions in a row that an error of ours or of a foreign store ended; then the run is ended too."""
BACK_IN = 1.0
"""Seconds after which a run is due again that was interrupted."""
LEFT_ALONE = 10.0
"""The same, when a newer version or another catalog is needed to go on with it."""


def follow_lease(writer: RunWriter, state: RunState, request: RunRequest) -> None:
    """Have a run recorded, and stopped when its lease is lost or somebody asks for it."""

    def hear(news: News) -> None:
        if news == "cancelled":
            state.stop("cancelled", "it was cancelled", 0)
        else:
            state.break_off(LeaseLost(request.context.run_id))

    def check() -> None:
        try:
            writer.hold.check()
        except LeaseLost as error:
            state.break_off(error)  # so that nobody takes it for a failure of the action
            raise

    state.check_lease = check
    writer.bind(state, hear)


async def break_off(request: RunRequest, writer: RunWriter, error: BaseException) -> None:
    """Leave a run that cannot be advanced here now to others; what waiting does not mend ends it."""
    if isinstance(error, LeaseLost | Fenced):
        await writer.give_back(0.0, lost=True)  # only tells the store that nobody died
        return
    stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
    final = isinstance(error, CorruptRecord) and not isinstance(error, NewerRecord)
    elsewhere = isinstance(error, NewerRecord | UnknownAction)  # a replan may have brought in what is not here
    if not stopped and not elsewhere and not isinstance(error, StorageUnavailable):
        writer.spent.broken += 1
        # what no action should raise, it would raise again
        final = final or writer.spent.broken >= MOST_BROKEN or not isinstance(error, Exception)
    if final:
        await _end(request, writer, error)
    else:
        later = LEFT_ALONE if elsewhere else BACK_IN
        await writer.give_back(0.0 if stopped else later)


async def poisoned(request: RunRequest, writer: RunWriter) -> ExecutionResult:
    """End a run that kills whoever advances it; it is kept, and can be retried."""
    crashes = writer.granted.crashes
    reason = f"Poisoned: {crashes} processes in a row died while they advanced it, and nothing of it was finished"
    result = not_advanced(request, "failed", reason)
    writer.tell(replace(result.errors[0], seq=writer.granted.seq + 1))
    await writer.end(result)
    return result


async def turn_away(request: RunRequest, writer: RunWriter, error: BaseException) -> None:
    """Leave a run as it was that a caller asked for in a wrong way; one that this call would have made ends."""
    if not isinstance(error, PlannerError):
        await break_off(request, writer, error)
    elif writer.granted.new:
        await _end(request, writer, error)
    else:
        await writer.give_back(0.0)


async def _end(request: RunRequest, writer: RunWriter, error: BaseException) -> None:
    why = error_text(error, secrets_in(request.user_inputs))
    result = not_advanced(request, "failed", f"{type(error).__name__}: {why}")
    writer.tell(result.errors[0])
    try:
        await writer.end(result)
    except (StorageError, LeaseLost):  # the caller hears of the first error
        await writer.give_back(BACK_IN, lost=True)
