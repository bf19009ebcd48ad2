"""What a saver knows of a run: how it was started, what it asks, and what it ended with."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from planner.catalog import ActionCatalog
from planner.errors import RunConflict
from planner.execution.bind import fingerprint
from planner.execution.outcome import RECORD_VERSION, PendingInterrupt
from planner.execution.people import expired, read_question
from planner.execution.request import RunRequest
from planner.plan import CandidatePlan, resolve_step
from storage.errors import NewerRecord

POLICIES = ("stop_on_failure", "on_failure", "on_cancel", "max_replans")
"""Of a request: what becomes of the run when it fails or is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a run was started: enough to know it again, and no input, since inputs may be secret."""

    plan_id: str
    refs: Mapping[str, str]
    """Step → the action it calls, with its version: a newer one does not take over half a run."""
    owner: Sequence[str]
    """Tenant and user."""
    inputs_hash: str
    """Of the user's inputs; secrets and live objects count by their type only."""
    started_at: datetime
    attempt: int = 1
    """Counts how often the run was begun anew after it had ended."""
    undo_again: bool = False
    """Whether this attempt only repeats the undos that failed."""
    policies: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`POLICIES` of the request: another call of a run may not change them halfway."""

    @classmethod
    def of(cls, request: RunRequest, catalog: ActionCatalog, started_at: datetime) -> "Start":
        """Describe a run that starts now."""
        identity = request.context.identity
        return cls(
            plan_id=request.plan.id,
            refs={step.id: resolve_step(step, catalog).ref for step in request.plan.steps},
            owner=[identity.org_id, identity.user_id],
            inputs_hash=fingerprint(request.user_inputs),
            started_at=started_at,
            attempt=request.attempt,
            undo_again=request.undo_again,
            policies={name: getattr(request, name) for name in POLICIES},
        )

    def apply(self, request: RunRequest) -> RunRequest:
        """Return `request` with the policies that the run was started with."""
        return replace(request, **self.policies)

    def check(self, request: RunRequest) -> None:
        """Make sure that `request` means this run.

        Raises:
            RunConflict: the run is of another plan, somebody else's, or has other inputs.
        """
        identity, run_id = request.context.identity, request.context.run_id
        if list(self.owner) != [identity.org_id, identity.user_id]:
            raise RunConflict.taken(run_id)
        if self.plan_id != request.plan.id:
            raise RunConflict(f"run {run_id!r} was started with another plan ({self.plan_id}); use a new run id")
        if not request.recorded and self.inputs_hash != fingerprint(request.user_inputs):
            raise RunConflict(f"run {run_id!r} was started with other user inputs; give the same, or use a new run id")

    def to_record(self) -> dict[str, Any]:
        """Return what is stored."""
        return {
            "v": RECORD_VERSION,
            "plan_id": self.plan_id,
            "refs": dict(self.refs),
            "owner": list(self.owner),
            "inputs_hash": self.inputs_hash,
            "started_at": self.started_at,
            "attempt": self.attempt,
            "undo_again": self.undo_again,
            "policies": dict(self.policies),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Start":
        """Read what `to_record` wrote; whatever else is there is not ours."""
        if isinstance(version := record.get("v"), int) and version > RECORD_VERSION:
            raise NewerRecord("the start of a run", version)
        known = {name: value for name, value in record.items() if name != "v"}
        required = {one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING}
        if record.get("v") != RECORD_VERSION or not required <= set(known) <= {one.name for one in fields(cls)}:
            raise RunConflict("the thread of this run id holds something else, or another version's run")
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a saver knows of a run."""

    start: Start | None = None
    final: Mapping[str, Any] | None = None
    """The records of a run that has ended."""
    asked: Sequence[PendingInterrupt] = ()
    """What was asked in the run, answered or not."""
    found: CheckpointTuple | None = field(default=None, repr=False)
    """What was read, so that LangGraph need not read it again."""

    def to_resume(self, answers: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Return what the run goes on with: by question, the answer, or what counts as one after the deadline."""
        late = expired((question for question in self.asked if question.id not in answers), now)
        return {question.id: answers[question.id] for question in self.asked if question.id in answers} | dict(late)


async def read_history(saver: BaseCheckpointSaver[Any] | None, run_id: str, attempt: int = 1) -> History:
    """Return what `saver` knows of a run; an empty history when it knows nothing.

    A run that has ended, and is now at a later `attempt`, is begun anew in the same thread, so its history is empty
    too; LangGraph gives the graph what the attempt before ended with.

    Raises:
        RunConflict: the thread is not one of ours, or of another version.
    """
    found = None if saver is None else await saver.aget_tuple({"configurable": {"thread_id": run_id}})
    if found is None:
        return History()
    values = found.checkpoint["channel_values"]
    begun = _mapping(values.get("__start__"))  # gone once the run has ended; the end of an earlier attempt stays
    final = None if begun is not None else _mapping(values.get("__end__"))
    start = Start.from_record(begun or _mapping((final or {}).get("start")) or {})
    if final is not None and start.attempt < attempt:
        return History(found=found)
    asked = [value for _, channel, value in found.pending_writes or () if channel == "__interrupt__"]
    questions = [read_question(str(one.id), one.value) for several in asked for one in several]
    return History(start=start, final=final, asked=questions, found=found)


def pinned(plan: CandidatePlan, start: Start | None) -> CandidatePlan:
    """Return `plan` with the versions that it was started with, or as it is when it is new."""
    if start is None:
        return plan
    steps = [step.model_copy(update={"action_ref": start.refs[step.id]}) for step in plan.steps]
    return plan.model_copy(update={"steps": tuple(steps)})


def _mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None
