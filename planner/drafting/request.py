"""A request for a plan, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.context import RequestIdentity
from planner.drafting.language_model import Usage
from planner.events import PlanningEvent
from planner.plan import CandidatePlan, Estimate, Patch, ValidationResult


@dataclass(kw_only=True)
class PlanningContext:
    """What a plan is asked for; the fields up to `preferred_external_keys` are aethergraph's."""

    goal: str
    user_inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values that a plan may bind as `${user.key}`; a `SecretStr` never enters a prompt."""
    external_slots: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further keys that will be there when the plan runs: name → `Slot`, JSON Schema, type, or coarse type's name."""
    memory_snippets: Sequence[str] = ()
    artifact_snippets: Sequence[str] = ()
    flow_ids: Sequence[str] | None = None
    """Groups of actions to plan with, beside the global ones; `None` for all."""
    instruction: str | None = None
    allow_partial_plans: bool = True
    """Whether a plan that lacks only user inputs is accepted."""
    preferred_external_keys: Sequence[str] | None = None
    wants: Sequence[str] | Mapping[str, Any] | None = None
    """For planning by types: the outputs to reach, by name or semantic type, or name → schema or type."""
    candidates: int = 1
    """How many plans to draft in parallel."""
    max_iter: int = 3
    """How often each candidate is planned, or planned anew; reading skills before that takes up to 3 calls more."""
    max_tokens: int | None = None
    """For all calls together; once it is spent, the draft ends."""
    identity: RequestIdentity = field(default_factory=RequestIdentity)
    """Whose roles decide which actions are offered."""
    exclude_actions: Sequence[str] = ()
    """Actions that are not offered, such as the flow that is asking."""
    skills: Sequence[str] = ()
    """Skills, by id, whose text is in the prompt from the start.

    So is that of trusted ones for `flow_ids`, up to a bound; of others when the model asks. A run does not remember
    them: what is left of its plan after a failure is drafted without them.
    """
    revises: CandidatePlan | None = None
    """The plan that `change` is about."""
    change: str = ""
    """What whoever saw `revises` wants to be different, in their words."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One plan of several, with everything that ranks it."""

    plan: CandidatePlan
    validation: ValidationResult
    estimate: Estimate | None = None
    """`None` where the plan is too broken to be estimated."""
    patches: Sequence[Patch] = ()
    """What was mended without the model, in order."""


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What came of a request for a plan; a model that fails gives a result without a plan, not an exception."""

    plan: CandidatePlan | None
    """The best candidate that is accepted, or `None`."""
    validation: ValidationResult | None
    """Of `plan`, or of the last attempt when there is none."""
    events: list[PlanningEvent] = field(default_factory=list[PlanningEvent])
    candidates: Sequence[Candidate] = ()
    """All that were decoded, best first."""
    usage: Usage = field(default_factory=Usage)
    draft: bool = False
    """Whether the plan was only guessed from words, without a model; it runs only when the caller says so."""
    unreachable: Sequence[str] = ()
    """Wants that no plan can reach, whatever the user gives."""

    @property
    def ok(self) -> bool:
        """Whether there is a plan, and nothing is missing to run it."""
        return self.plan is not None and self.validation is not None and self.validation.ok

    @property
    def missing_inputs(self) -> dict[str, list[str]]:
        """Key → the places that need it: what to ask the user for."""
        return {} if self.validation is None else dict(self.validation.missing_user_bindings)
