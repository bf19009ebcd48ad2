"""What became of a step and of a run, as values; the step's is also what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from planner.errors import RunFailed
from planner.events import ExecutionEvent
from planner.plan import Estimate, ValidationResult

StepStatus = Literal["succeeded", "failed", "skipped", "cancelled", "unknown"]
RunStatus = Literal["pending", "running", "waiting", "compensating", "succeeded", "failed", "cancelled"]
SkipReason = Literal["condition", "dependency", "stopped"]

RECORD_VERSION = 1

BlobPart = tuple[Sequence[str | int], str, str, int]
"""Path inside the value, digest, name of the codec (empty for plain data), size in bytes."""


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

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure of the step."""
        return self.status in ("failed", "cancelled", "unknown")

    def to_record(self) -> dict[str, Any]:
        """Return what is stored: plain data with a version."""
        return {
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
            ValueError: it was written by a newer version.
        """
        fields = dict(record)
        if fields.pop("v") != RECORD_VERSION:
            raise ValueError(
                f"step {record.get('step_id')!r} was recorded by another version of goalgraph ({record['v']})"
            )
        fields["blobs"] = tuple((tuple(path), digest, codec, size) for path, digest, codec, size in fields["blobs"])
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingInterrupt:
    """What a flow or an action asked with LangGraph's `interrupt`; the run goes on when it is answered."""

    id: str
    step_id: str
    value: Any


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
    tags: Sequence[str] = ()

    def raise_for_failure(self) -> "ExecutionResult":
        """Return this result when it is ok.

        Raises:
            RunFailed: it is not; the message holds the first error.
        """
        if self.ok:
            return self
        first = next((event.error for event in self.errors if event.error), self.status)
        raise RunFailed(f"run {self.run_id} {self.status}: {first}")
