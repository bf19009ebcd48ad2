"""What is open in a session: plain values, stored as JSON between two turns."""

from datetime import datetime
from typing import Any, Literal

from langchain_core.utils.uuid import uuid7
from pydantic import BaseModel, ConfigDict, Field

from planner.context import RequestIdentity
from planner.plan import CandidatePlan

VERSION = 1
"""Of the stored form; changing it needs a migration in `stored.py`."""

MAX_RUNNING = 20
"""Runs of a session that are kept track of; of more, the oldest are forgotten, and are found by their ids."""

QuestionKind = Literal["inputs", "plan", "confirm", "run"]
"""Values that a plan lacks; whether to run a plan; whether to do a quick action; what a run asks a person."""


class PendingQuestion(BaseModel):
    """What the user was asked; the next message is taken for the answer, unless it says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=lambda: str(uuid7()))
    """Of the question, new whenever something else is asked: an answer belongs to the one that its user saw."""
    asked_at: datetime | None = None
    """UTC; when it was first put."""
    shown: str = ""
    """A digest of the plan as it was shown, see `plan_digest`; empty when no plan was."""
    kind: QuestionKind
    text: str
    """The question, as it was put."""
    form: dict[str, Any] = Field(default_factory=dict[str, Any])
    """JSON Schema of the answer: of `inputs`, an object with every key that is missing."""
    goal: str = ""
    plan: CandidatePlan | None = None
    inputs: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Values that are there already; never a secret."""
    flow_ids: list[str] | None = None
    run_id: str | None = None
    """The run's id, given when the question is first put: however often it is answered, there is one run."""
    interrupt_id: str | None = None
    """Which question of the run, of those that are open."""
    quick_action_id: str | None = None
    argument: str = ""
    draft: bool = False
    """Whether the plan was only guessed from words."""


class Artifact(BaseModel):
    """What a run gave, for later turns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    goal: str
    text: str
    """Its outputs in words, short, without secrets."""


class SessionState(BaseModel):
    """What the next turn has to know; `last_flow_ids` is aethergraph's.

    A server keeps it, or opens it for each message; it never takes one from a client, who could write any identity and
    roles into it.
    """

    model_config = ConfigDict(extra="forbid")

    last_flow_ids: list[str] | None = None
    session_id: str = ""
    """Without one, nothing is kept beyond the object itself."""
    identity: RequestIdentity = Field(default_factory=RequestIdentity)
    """Whose session it is: set by whoever opens it, never read from what is stored."""
    pending: PendingQuestion | None = None
    running: list[str] = Field(default_factory=list[str], max_length=MAX_RUNNING)
    """Runs whose end nobody has been told, the oldest first."""
    artifacts: list[Artifact] = Field(default_factory=list[Artifact])
    """Newest last."""
    values: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Outputs of earlier runs by name, which a plan may bind; plain, small, and no secrets."""
    summary: str = ""
    """Of the messages up to `summarised_until`; the messages themselves stay in storage."""
    summarised_until: str = ""
    """`created_at` of the last message that is no longer shown as it was said."""
