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

logger = logging.getLogger("goalgraph")

REASON = "Cancelled: it was cancelled before it started"


async def ask_to_stop(access: RunAccess, record: RunRecord) -> Literal["asked", "ended", "over"]:
    """Tell a run's record that it is to stop. One that nobody has begun ends at once; see `RunStore.cancel`."""
    now, codec = datetime.now(UTC), access.stores.codec
    columns = {"status": "cancelled", "finished_at": now.isoformat(), "error_type": "Cancelled"}
    fields = {"result": ended_field(REASON, codec)}
    change = Change(kind="run", owner=record.id, at=now, fields=fields, columns=columns)
    event = ExecutionEvent("cancelled", error=REASON, run_id=record.id, time=now)
    told = Change(
        kind="event", owner=record.id, at=now, fields=event_fields(event, codec), columns=event_columns(event, "", None)
    )
    return await access.stores.live.cancel(record.id, change=change, events=[told])


async def quietly(run_id: str, asking: Awaitable[object]) -> None:
    """Wait for what asks a run to stop, and log why it could not be asked."""
    try:
        await asking
    except (RunEnded, RunCompensating, RunNotFound):
        return
    except StorageError as error:
        logger.warning("run %s could not be asked to stop: %s", run_id, error)
