"""A run and its events as they are stored: what a record says, and how it is read; no I/O.

A run is a document: `start` says what is run and for whom, `result` what became of it. An event is an entry of a log.
What a user may have written is in the fields, which go through the codec; the columns are facts to query by. Outputs of
steps are in neither: they are in the checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast

from planner.events import ExecutionPhase
from planner.execution.outcome import RunStatus, RunUsage, StepStatus, UndoOutcome
from storage.errors import CorruptRecord, NewerRecord
from storage.records import Entry
from storage.runs import ENDS
from storage.serde import ValueCodec

VERSION = 1
"""Of each field; another one needs a migration."""
ANSWER = "answer:"
"""Begins the name of a field that holds the answer to a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """Where a step of a run is, as far as it was recorded."""

    status: StepStatus | Literal["open", "running"]
    attempts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None
    """Why it was skipped."""
    error_type: str | None = None
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took, when it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as its record tells of it."""

    id: str
    plan_id: str
    status: RunStatus
    user_id: str
    org_id: str
    session_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    origin: str | None = None
    visibility: str = "normal"
    importance: str = "normal"
    parent: str | None = None
    """The run that started it."""
    tags: Sequence[str] = ()
    goal: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As JSON; `CandidatePlan.from_dict` reads it."""
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the user gave; secrets as a mask."""
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As of the result, without what is too large for a record or no plain data."""
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """`inputs.name` or `outputs.name` → why it is not here."""
    errors: Sequence[str] = ()
    """Of the run as a whole; those of steps are with the steps."""
    error_type: str | None = None
    reason: str | None = None
    """Why it has its status, in a word, when no step says so: `poisoned`, `deadline`."""
    attempt: int = 1
    """Counts how often it was begun anew after it had ended."""
    callback_error: str | None = None
    """What an `on_complete` raised last."""
    questions: Sequence[Mapping[str, Any]] = ()
    """What a waiting run asks: `id`, `step_id`, `value`."""
    steps: Mapping[str, StepState] = field(default_factory=dict[str, StepState])
    """By step, once the run has ended or waits."""
    compensation: Mapping[str, UndoOutcome] = field(default_factory=dict[str, UndoOutcome])
    """By step: what became of its effect, when the run was undone."""
    usage: RunUsage = field(default_factory=RunUsage)
    """Of all executions of the run together."""
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What people said, by question, since the run was begun."""
    request: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """What another process needs beside the rest to go on with it; `recorded.py` reads it."""
    started_at: datetime
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether it can go on no more."""
        return self.status in ENDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One thing that happened in a run."""

    run_id: str
    seq: int
    """1, 2, 3 … over all executions of the run."""
    at: datetime
    phase: ExecutionPhase
    step_id: str | None = None
    action: str | None = None
    attempt: int = 0
    duration_ms: int | None = None
    """Of the step or the run, where it ends."""
    error_type: str | None = None
    message: str | None = None
    error: str | None = None
    progress: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_run(entry: Entry, codec: ValueCodec) -> RunRecord:
    """Read the record of a run.

    Raises:
        CorruptRecord: it cannot be read, or another version wrote it.
    """
    key = f"run {entry.owner}"
    facts = entry.columns
    start, result = _load(entry, "start", codec, key), _load(entry, "result", codec, key)
    counters = entry.counters
    try:
        return RunRecord(
            id=entry.owner,
            plan_id=facts["plan_id"],
            status=cast("RunStatus", facts["status"]),
            user_id=facts["user_id"],
            org_id=facts["org_id"],
            session_id=facts["session_id"] or None,
            agent_id=facts["agent_id"] or None,
            app_id=facts["app_id"] or None,
            origin=facts["origin"] or None,
            visibility=facts["visibility"],
            importance=facts["importance"],
            parent=facts["parent"] or None,
            tags=tuple(start.get("tags", ())),
            goal=start.get("goal", ""),
            plan=start.get("plan", {}),
            inputs=start.get("inputs", {}),
            outputs=result.get("outputs", {}),
            left_out={**start.get("left_out", {}), **result.get("left_out", {})},
            errors=tuple(result.get("errors", ())),
            error_type=facts["error_type"] or None,
            reason=facts.get("reason") or None,
            attempt=int(facts.get("attempt") or 1),
            callback_error=_load(entry, "callback", codec, key).get("error"),
            questions=tuple(result.get("questions", ())),
            answers=read_answers(entry, codec),
            request=_load(entry, "request", codec, key),
            steps={step_id: StepState(**step) for step_id, step in result.get("steps", {}).items()},
            compensation={one["step_id"]: UndoOutcome.from_record(one) for one in result.get("compensation", ())},
            usage=RunUsage(
                steps=int(counters.get("steps", 0)),
                attempts=int(counters.get("attempts", 0)),
                seconds=counters.get("seconds", 0.0),
                amount=counters.get("cost", 0.0),
                tokens=int(counters.get("total_tokens", 0)),
            ),
            started_at=datetime.fromisoformat(facts["started_at"]),
            finished_at=datetime.fromisoformat(facts["finished_at"]) if facts["finished_at"] else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptRecord(key, f"{type(error).__name__}: {error}") from error


def read_answers(entry: Entry, codec: ValueCodec) -> dict[str, Any]:
    """Return what people answered, by question, since the run was begun, or begun anew."""
    key, attempt = f"run {entry.owner}", int(entry.columns.get("attempt") or 1)
    said = {
        name.removeprefix(ANSWER): _load(entry, name, codec, key) for name in entry.fields if name.startswith(ANSWER)
    }
    # an earlier version did not write the attempt
    return {name: one.get("value") for name, one in said.items() if one.get("attempt", attempt) == attempt}


def read_event(entry: Entry, codec: ValueCodec) -> RunEvent:
    """Read an event. Raises: as `read_run`."""
    key = f"event {entry.seq} of run {entry.owner}"
    facts, said = entry.columns, _load(entry, "event", codec, key)
    try:
        return RunEvent(
            run_id=entry.owner,
            seq=entry.seq,
            at=entry.at,
            phase=cast("ExecutionPhase", facts["phase"]),
            step_id=facts.get("step_id") or None,
            action=facts.get("action") or None,
            attempt=int(facts.get("attempt") or 0),
            duration_ms=int(facts["duration_ms"]) if facts.get("duration_ms") else None,
            error_type=facts.get("error_type") or None,
            message=said.get("message"),
            error=said.get("error"),
            progress=said.get("progress"),
            details=said.get("details", {}),
        )
    except (KeyError, ValueError) as error:
        raise CorruptRecord(key, f"{type(error).__name__}: {error}") from error


def _load(entry: Entry, name: str, codec: ValueCodec, key: str) -> Mapping[str, Any]:
    value = entry.fields.get(name)
    if value is None:
        return {}
    document: Any = codec.load(value, f"{key}, field {name!r}")
    version: Any = cast("Mapping[str, Any]", document).get("v") if isinstance(document, Mapping) else None
    if isinstance(version, int) and version > VERSION:
        raise NewerRecord(key, version)
    if version != VERSION:
        raise CorruptRecord(key, "another version of goalgraph wrote it")
    return cast("Mapping[str, Any]", document)
