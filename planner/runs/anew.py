"""Requests for runs that are begun anew: once more with what holds, or as another run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.utils.uuid import uuid7

from planner.context import RequestIdentity
from planner.errors import RunEnded, RunNotEnded
from planner.execution import RunRequest
from planner.execution.history import read_history
from planner.runs.access import RunAccess


async def to_retry(
    access: RunAccess,
    run_id: str,
    user_inputs: Mapping[str, Any] | None,
    identity: RequestIdentity,
    *,
    undo_again: bool,
) -> RunRequest:
    """Return the request for another attempt of a run.

    Raises:
        RunNotFound, RunNotEnded, RunEnded, MissingSecrets: see `RunService.retry`.
    """
    record = await access.owned(run_id, identity)
    if not record.ended:
        raise RunNotEnded(run_id, record.status)
    if record.status == "succeeded":
        raise RunEnded(run_id, record.status)
    request = await access.request(record, user_inputs)
    history = await read_history(access.executor.checkpointer, run_id, record.attempt)
    # without an end in its checkpoints it goes on where it was, as the same attempt
    begun = history.start is not None and history.final is None
    return replace(request, attempt=record.attempt if begun else record.attempt + 1, undo_again=undo_again)


async def to_rerun(
    access: RunAccess,
    run_id: str,
    user_inputs: Mapping[str, Any] | None,
    exec_id: str | None,
    identity: RequestIdentity,
) -> RunRequest:
    """Return the request for another run of the same plan, with other inputs where they are given."""
    before = await access.request(await access.owned(run_id, identity), user_inputs)
    return replace(
        before,
        user_inputs={**before.user_inputs, **(user_inputs or {})},
        context=replace(before.context, run_id=exec_id or str(uuid7())),
        attempt=1,
        kept={},
        undo_again=False,
        recorded=False,
    )
