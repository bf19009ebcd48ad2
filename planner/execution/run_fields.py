"""How a run and its events are written: formats with a version, and no secret in them; no I/O."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from planner.catalog import to_plain
from planner.context import RunContext
from planner.errors import UnstorableOutput
from planner.events import ExecutionEvent
from planner.execution.outcome import ExecutionResult, RunStatus, StepOutcome
from planner.execution.run_records import VERSION
from planner.execution.secrets import masked, without
from planner.execution.state import RunState
from storage.records import Value
from storage.serde import ValueCodec

PARENT = "run:"
"""Begins the tag that names the run which started this one."""
ERROR_TYPE = re.compile(r"(?:step '[^']*': )?([A-Za-z_]\w*)(?::|$)")


def run_columns(
    context: RunContext, plan_id: str, status: RunStatus, started_at: datetime, finished_at: datetime | None = None
) -> dict[str, str]:
    """Return the facts of a run; all of them each time, so that none of an earlier execution stays."""
    parents = [tag.removeprefix(PARENT) for tag in context.tags if tag.startswith(PARENT)]
    return {
        "status": status,
        "plan_id": plan_id,
        "user_id": context.identity.user_id,
        "org_id": context.identity.org_id,
        "session_id": context.session_id or "",
        "agent_id": context.agent_id or "",
        "app_id": context.app_id or "",
        "origin": context.origin or "",
        "visibility": context.visibility.value,
        "importance": context.importance.value,
        "parent": parents[-1] if parents else "",
        "started_at": started_at.isoformat(),
        "finished_at": "" if finished_at is None else finished_at.isoformat(),
        "error_type": "",
    }


def start_field(state: RunState, codec: ValueCodec) -> Value:
    """Write what is run, and for whom."""
    inputs, left_out = _fitting(masked(state.user_inputs), "inputs", state.limits.blob_bytes)
    document = {"goal": state.plan.goal, "plan": state.plan.to_dict(), "inputs": inputs, "left_out": left_out}
    return _dump(codec, {"v": VERSION, **without(document, state.secrets), "tags": list(state.context.tags)})


def result_field(result: ExecutionResult, state: RunState, codec: ValueCodec) -> Value:
    """Write what became of a run."""
    outputs, left_out = _fitting(result.outputs, "outputs", state.limits.blob_bytes)
    questions = [{"id": one.id, "step_id": one.step_id, "value": _plain(one.value)} for one in result.interrupts]
    document = {
        "outputs": outputs,
        "left_out": left_out,
        "errors": [event.error for event in result.errors if event.error and event.step_id is None],
        "questions": questions,
        "steps": {step_id: _step(outcome) for step_id, outcome in result.outcomes.items()},
    }
    return _dump(codec, {"v": VERSION, **without(document, state.secrets)})


def empty_result(codec: ValueCodec) -> Value:
    """Write that nothing is known of the end any more: the run goes on."""
    return codec.dump({"v": VERSION})


def broken_field(error: BaseException, state: RunState, codec: ValueCodec) -> Value:
    """Write why a run could not be advanced."""
    document = {"errors": [f"{type(error).__name__}: {error}"]}
    return _dump(codec, {"v": VERSION, **without(document, state.secrets)})


def result_error_type(result: ExecutionResult) -> str:
    """Return the type of the error that a run ended with, or an empty text."""
    if result.ok or result.status == "waiting":
        return ""
    return error_type(next((event.error for event in reversed(result.errors) if event.error), None))


def error_type(error: str | None) -> str:
    """Return the name of the type that the text of an event's error begins with, or an empty text."""
    found = ERROR_TYPE.match(error or "")
    return found[1] if found else ""


def event_columns(event: ExecutionEvent, action: str, duration_ms: int | None) -> dict[str, str]:
    """Return the facts of an event, those that there are."""
    columns = {
        "phase": event.phase,
        "step_id": event.step_id,
        "action": action,
        "attempt": str(event.attempt) if event.attempt else "",
        "duration_ms": "" if duration_ms is None else str(duration_ms),
        "error_type": error_type(event.error),
    }
    return {name: value for name, value in columns.items() if value}


def event_fields(event: ExecutionEvent, codec: ValueCodec) -> dict[str, Value]:
    """Write what an event says; the outputs of its step are in the checkpoints."""
    said = {"message": event.message, "error": event.error, "progress": event.progress}
    document: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if event.details:
        document["details"] = {name: _plain(value) for name, value in event.details.items()}
    return {"event": _dump(codec, {"v": VERSION, **document})} if document else {}


def _step(outcome: StepOutcome) -> dict[str, Any]:
    facts = {
        "status": outcome.status,
        "attempts": outcome.attempts,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "reason": outcome.reason,
        "error_type": outcome.error_type,
        "error": outcome.error,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _fitting(values: Mapping[str, Any], name: str, most: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Separate what a record can hold from what it cannot, and say why."""
    kept: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for key, value in values.items():
        try:
            plain = to_plain(value)
        except UnstorableOutput:
            left_out[f"{name}.{key}"] = f"a {type(value).__name__} is no plain data"
            continue
        if plain.size > most:
            left_out[f"{name}.{key}"] = f"about {plain.size:,} bytes are too much for a record"
        else:
            kept[key] = plain.value
    return kept, left_out


def _plain(value: object) -> Any:
    try:
        return to_plain(value).value
    except UnstorableOutput:
        return f"<{type(value).__name__}>"


def _dump(codec: ValueCodec, document: Mapping[str, Any]) -> Value:
    try:
        return codec.dump(document)
    except (TypeError, ValueError, OverflowError):  # plain, and yet nothing that every codec can write
        return codec.dump(_tame(document))


def _tame(value: Any) -> Any:
    """Replace what text and numbers of other systems cannot hold: lone surrogates, whole numbers over 64 bits."""
    match value:
        case bool():
            return value
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case int() if not -(2**63) <= value < 2**64:
            return str(value)
        case dict():
            return {_tame(key): _tame(part) for key, part in cast("dict[Any, Any]", value).items()}
        case list() | tuple():
            return [_tame(part) for part in cast("list[Any]", value)]
        case _:
            return value
