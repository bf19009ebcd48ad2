"""What became of a step and of a run, as values; the step's is also what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from planner.catalog import JsonSchema
from planner.errors import RunFailed
from planner.events import ExecutionEvent
from planner.plan import Estimate, ValidationResult
from storage.errors import CorruptRecord, NewerRecord

StepStatus = Literal["succeeded", "failed", "skipped", "cancelled", "unknown"]
RunStatus = Literal["pending", "running", "waiting", "compensating", "succeeded", "failed", "cancelled"]
SkipReason = Literal["condition", "dependency", "stopped"]
QuestionKind = Literal["approval", "question", "unknown", "interrupt"]
"""An approval of a step, a question of an action, what became of a step that was in flight, what a flow asks itself."""

UndoStatus = Literal["undone", "failed", "unknown", "left"]
"""Taken back; its undo failed; not known whether there is an effect, which a person has to find out; nothing undoes it.
"""

RECORD_VERSION = 1

BlobPart = tuple[Sequence[str | int], str, str, int]
"""Path inside the value, digest, name of the codec (empty for plain data), size in bytes."""


def check_version(key: str, version: object) -> None:
    """Make sure that this version can read what was stored.

    Raises:
        NewerRecord: a newer one wrote it; the run is left to a process that has that.
        CorruptRecord: nobody knows who wrote it.
    """
    if isinstance(version, int) and version > RECORD_VERSION:
        raise NewerRecord(key, version)
    if version != RECORD_VERSION:
        raise CorruptRecord(key, "another version of goalgraph wrote it")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What became of one step, as it is recorded. A failed action is an outcome, so it is as durable as a success."""

    step_id: str
    ref: str
    """The action that ran, with its version."""
    status: StepStatus
    value: Any = None
    """What the step returned, as plain data; parts that are blobs are `None` here until they are loaded."""
    blobs: Sequence[BlobPart] = ()
    reason: SkipReason | None = None
    """Why it was skipped."""
    error_type: str | None = None
    error: str | None = None
    """What failed and where, in words, with secrets taken out."""
    attempts: int = 0
    inputs_hash: str | None = None
    """Of the resolved inputs: a later attempt of the run may keep the outcome only while this stays the same."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    """UTC; orders compensation, so it is part of the record."""
    items: Sequence["StepOutcome"] = ()
    """Of a mapped step that did not succeed: what became of each item, for compensation and for a later attempt."""

    acted: bool = False
    """Whether a call of a step that failed had returned, or took too long: what is wrong came after the effect."""

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure of the step."""
        return self.status in ("failed", "cancelled", "unknown")

    @property
    def uncertain(self) -> bool:
        """Whether it may have taken effect or not: it was in flight when it was stopped, or had acted and failed."""
        return self.status in ("cancelled", "unknown") or self.acted or self.error_type == "AttemptTimeout"

    def to_record(self) -> dict[str, Any]:
        """Return what is stored: plain data with a version."""
        more: dict[str, Any] = {"items": [item.to_record() for item in self.items]} if self.items else {}
        if self.acted:
            more["acted"] = True
        return {
            **more,
            "v": RECORD_VERSION,
            "step_id": self.step_id,
            "ref": self.ref,
            "status": self.status,
            "value": self.value,
            "blobs": [[list(path), digest, codec, size] for path, digest, codec, size in self.blobs],
            "reason": self.reason,
            "error_type": self.error_type,
            "error": self.error,
            "attempts": self.attempts,
            "inputs_hash": self.inputs_hash,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "StepOutcome":
        """Read what `to_record` wrote.

        Raises:
            NewerRecord: it was written by a newer version.
            CorruptRecord: it is none.
        """
        fields = dict(record)
        check_version(f"the outcome of step {record.get('step_id')!r}", fields.pop("v", None))
        fields["blobs"] = tuple((tuple(path), digest, codec, size) for path, digest, codec, size in fields["blobs"])
        fields["items"] = tuple(cls.from_record(item) for item in fields.get("items", ()))
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOutcome:
    """What became of the effect of one step when its run was undone."""

    step_id: str
    status: UndoStatus
    attempts: int = 0
    error_type: str | None = None
    error: str | None = None
    """Why it was not undone, with secrets taken out."""
    at: datetime | None = None
    """UTC; when the last attempt ended."""
    items: Sequence[int] = ()
    """Of a mapped step: the items whose effect is not undone."""

    @property
    def open(self) -> bool:
        """Whether somebody still has to see to it."""
        return self.status in ("failed", "unknown")

    def to_record(self) -> dict[str, Any]:
        """Return what is stored: plain data with a version."""
        return {
            "v": RECORD_VERSION,
            "step_id": self.step_id,
            "status": self.status,
            "attempts": self.attempts,
            "error_type": self.error_type,
            "error": self.error,
            "at": self.at,
            "items": list(self.items),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "UndoOutcome":
        """Read what `to_record` wrote.

        Raises:
            NewerRecord: it was written by a newer version.
            CorruptRecord: it is none.
        """
        fields = dict(record)
        check_version(f"the undo of step {record.get('step_id')!r}", fields.pop("v", None))
        fields["items"] = tuple(fields["items"])
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What an earlier attempt of a run has left of a step: an effect that is there, or may be."""

    outcome: StepOutcome
    undo: UndoOutcome | None = None
    """How its undo went, if the attempt came to that."""
    calls: frozenset[str] = frozenset()
    """Those that may have taken effect: the step's id, or `step[item]`."""
    step: Mapping[str, Any] | None = None
    """The step itself, where a replan took it out of the plan."""

    @property
    def tried(self) -> bool:
        """Whether its undo was called, and has not taken back everything."""
        return self.undo is not None and self.undo.open and self.undo.attempts > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingInterrupt:
    """What a run asks a person; it goes on when that is answered. `people.py` reads one from what a saver holds."""

    id: str
    step_id: str
    value: Any
    """What was given to LangGraph's `interrupt`: whatever a flow asks, else a mapping with all that is below."""
    kind: QuestionKind = "interrupt"
    message: str = ""
    schema: JsonSchema | None = None
    """What an answer has to be; `None`: anything."""
    roles: Sequence[str] = ()
    """Who may answer: anybody of the tenant with one of these; without any, the owner of the run."""
    deadline: datetime | None = None
    """UTC."""
    on_timeout: Mapping[str, Any] | None = None
    """`{"answer": …}`, which counts when nobody has answered by the deadline; `None`: the step fails then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsage:
    """What a run took."""

    steps: int = 0
    """Steps that have an outcome and were not skipped."""
    attempts: int = 0
    seconds: float = 0.0
    """From the start of this execution to its end."""
    amount: float = 0.0
    """Declared amounts of the calls that were made."""
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What `dry_run=True` shows: nothing was called."""

    order: Sequence[str]
    """Steps in the order in which they are taken up."""
    bindings: Mapping[str, Mapping[str, Any]]
    """Step → its inputs, with the values that are known filled in."""
    estimate: Estimate


@dataclass(frozen=True)
class ExecutionResult:
    """What became of a run; the first three fields are aethergraph's."""

    ok: bool
    outputs: dict[str, Any]
    """What the plan declares, else the outputs of its last step; what could not be had is absent."""
    errors: list[ExecutionEvent] = field(default_factory=list[ExecutionEvent])
    status: RunStatus = "succeeded"
    step_outputs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """Outputs of every step that succeeded, also when the run failed."""
    outcomes: Mapping[str, StepOutcome] = field(default_factory=dict[str, StepOutcome])
    run_id: str = ""
    plan_id: str = ""
    usage: RunUsage = field(default_factory=RunUsage)
    interrupts: Sequence[PendingInterrupt] = ()
    """What the run waits for, when its status is `waiting`."""
    validation: ValidationResult | None = None
    """Why the plan was not run, when it did not pass."""
    preview: Preview | None = None
    compensation: Mapping[str, UndoOutcome] = field(default_factory=dict[str, UndoOutcome])
    """Of a run that was undone: step → what became of its effect; steps that only read are not in it."""
    tags: Sequence[str] = ()

    @property
    def compensation_failed(self) -> bool:
        """Whether an effect was not undone, or it is not known whether there is one; `compensation` says which."""
        return any(undo.open for undo in self.compensation.values())

    def raise_for_failure(self) -> "ExecutionResult":
        """Return this result when it is ok.

        Raises:
            RunFailed: it is not; the message holds the first error.
        """
        if self.ok:
            return self
        first = next((event.error for event in self.errors if event.error), self.status)
        raise RunFailed(f"run {self.run_id} {self.status}: {first}")
