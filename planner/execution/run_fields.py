"""How a run and its events are written: formats with a version, and no secret in them; no I/O."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from planner.catalog import to_plain
from planner.errors import SecretInPlan, UnstorableOutput
from planner.events import ExecutionEvent
from planner.execution.bind import fingerprint
from planner.execution.outcome import ExecutionResult, RunStatus, StepOutcome
from planner.execution.request import RunRequest
from planner.execution.run_records import VERSION
from planner.execution.secrets import error_text, masked, secret_within, secrets_in, without
from storage.records import Change, Value
from storage.serde import ValueCodec

PARENT = "run:"
"""Begins the tag that names the run which started this one."""
ERROR_TYPE = re.compile(r"(?:step '[^']*': )?([A-Za-z_]\w*)(?::|$)")


def owner_columns(request: RunRequest) -> dict[str, str]:
    """Return the facts that tell whether a run of the same id is the same run."""
    identity = request.context.identity
    return {"plan_id": request.plan.id, "org_id": identity.org_id, "user_id": identity.user_id}


def run_columns(
    request: RunRequest, status: RunStatus, started_at: datetime, finished_at: datetime | None = None, reason: str = ""
) -> dict[str, str]:
    """Return the facts of a run; all of them each time, so that none of an earlier execution stays."""
    context = request.context
    parents = [tag.removeprefix(PARENT) for tag in context.tags if tag.startswith(PARENT)]
    return {
        "status": status,
        **owner_columns(request),
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
        "reason": reason,
        "attempt": str(request.attempt),
    }


def inputs_column(request: RunRequest) -> dict[str, str]:
    """Return the fact that tells whether the inputs are the same; runs of earlier versions have none."""
    return {"inputs_hash": fingerprint(request.user_inputs)}


def start_field(request: RunRequest, largest: int, codec: ValueCodec) -> Value:
    """Write what is run, and for whom; inputs of more than `largest` bytes are named only.

    Raises:
        SecretInPlan: the plan says what is secret; it is recorded as it is, since it is run from its record.
    """
    plan, secrets = request.plan.to_dict(), secrets_in(request.user_inputs)
    if (name := secret_within(plan, secrets)) is not None:
        raise SecretInPlan(name)
    inputs, left_out = _fitting(masked(request.user_inputs), "inputs", largest)
    document = {
        "goal": request.plan.goal,
        "plan": plan,
        "inputs": without(inputs, secrets),
        "left_out": left_out,
        "tags": list(request.context.tags),
    }
    return _dump(codec, {"v": VERSION, **document})


def result_field(result: ExecutionResult, secrets: Mapping[str, str], largest: int, codec: ValueCodec) -> Value:
    """Write what became of a run; outputs of more than `largest` bytes are named only."""
    outputs, left_out = _fitting(result.outputs, "outputs", largest)
    questions = [{"id": one.id, "step_id": one.step_id, "value": _plain(one.value)} for one in result.interrupts]
    document = {
        "outputs": outputs,
        "left_out": left_out,
        "errors": [event.error for event in result.errors if event.error and event.step_id is None],
        "questions": questions,
        "steps": {step_id: _step(outcome) for step_id, outcome in result.outcomes.items()},
        "compensation": [undo.to_record() for undo in result.compensation.values()],
    }
    return _dump(codec, {"v": VERSION, **without(document, secrets)})


def empty_result(codec: ValueCodec) -> Value:
    """Write that nothing is known of the end any more: the run goes on."""
    return codec.dump({"v": VERSION})


def answer_field(value: object, attempt: int, codec: ValueCodec) -> Value:
    """Write the answer to a question of an attempt of a run."""
    return _dump(codec, {"v": VERSION, "value": _plain(value), "attempt": attempt})


def ended_field(error: str, codec: ValueCodec) -> Value:
    """Write the result of a run that ended without having begun."""
    return _dump(codec, {"v": VERSION, "errors": [error]})


def callback_failed(run_id: str, error: BaseException, secrets: Mapping[str, str], codec: ValueCodec) -> Change:
    """Return what is recorded of an `on_complete` that failed."""
    why = f"{type(error).__name__}: {error_text(error, secrets)}"
    told = {"callback": _dump(codec, {"v": VERSION, "error": why})}
    return Change(kind="run", owner=run_id, at=datetime.now(UTC), fields=told, must="exist")


def reason_of(result: ExecutionResult) -> str:
    """Return why a run has its status, in a word, when no step says so."""
    error = result_error_type(result)
    return {"Poisoned": "poisoned", "LimitExceeded": "limit"}.get(error, "")


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
