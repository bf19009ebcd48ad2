"""Asking a run to stop, wherever it is."""

import logging
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Literal

from planner.errors import RunCompensating, RunEnded, RunNotFound
from planner.events import ExecutionEvent
from planner.execution import RunRecord
from planner.execution.run_fields import ended_field, event_columns, event_fields
from planner.runs.access import RunAccess
from storage.errors import StorageError
from storage.records import Change
from storage.runs import Ended, Granted, Update
from storage.serde import ValueCodec

logger = logging.getLogger("goalgraph")

NEVER = 10 * 365 * 86_400.0
"""Seconds until a run is due that nobody has to take up."""
REASON = "Cancelled: it was cancelled before it started"


async def ask_to_stop(access: RunAccess, record: RunRecord) -> Literal["asked", "ended", "over"]:
    """Tell a run's record that it is to stop. One that nobody has begun ends at once; see `RunStore.cancel`."""
    change, told = _cancelled(record.id, REASON, access.stores.codec)
    return await access.stores.live.cancel(record.id, change=change, events=[told])


async def end_unrun(access: RunAccess, granted: Granted, why: str) -> None:
    """End a run that was taken up, and asked to stop, and cannot be run here; so nothing that it did is undone.

    Raises:
        Fenced: somebody else has it by now.
    """
    run_id, reason = granted.state.owner, f"Cancelled: it was cancelled, and what it had done is not undone: {why}"
    change, told = _cancelled(run_id, reason, access.stores.codec)
    update = Update(change=change, events=[told], after=granted.seq, then=Ended())
    await access.stores.live.update(run_id, granted.token, update)


def _cancelled(run_id: str, reason: str, codec: ValueCodec) -> tuple[Change, Change]:
    """Return what is written where a run ends as cancelled that nobody advances: to its record, and to its log."""
    now = datetime.now(UTC)
    columns = {"status": "cancelled", "finished_at": now.isoformat(), "error_type": "Cancelled"}
    fields = {"result": ended_field(reason, codec)}
    change = Change(kind="run", owner=run_id, at=now, fields=fields, columns=columns)
    event = ExecutionEvent("cancelled", error=reason, run_id=run_id, time=now)
    told = Change(
        kind="event", owner=run_id, at=now, fields=event_fields(event, codec), columns=event_columns(event, "", None)
    )
    return change, told


async def quietly(run_id: str, asking: Awaitable[object]) -> None:
    """Wait for what asks a run to stop, and log why it could not be asked."""
    try:
        await asking
    except (RunEnded, RunCompensating, RunNotFound):
        return
    except StorageError as error:
        logger.warning("run %s could not be asked to stop: %s", run_id, error)
