"""What is wrong with a plan, and where: one value for each fault, and the verdict over all of them."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

IssueKind = Literal[
    "unknown_action", "action_mismatch", "duplicate_step", "reserved_step_id", "empty_plan", "unknown_step",
    "unknown_output", "cycle", "missing_input", "unknown_input", "type_mismatch", "invalid_literal", "invalid_step_id",
    "forbidden_action", "over_budget", "unused_step", "point_of_no_return", "undecodable",
    "model_unavailable", "unknown_skill",
]  # fmt: skip

WARNINGS: frozenset[IssueKind] = frozenset({"unused_step", "point_of_no_return"})
"""Worth a look, but no reason not to run."""


@dataclass(frozen=True, slots=True)
class ValidationIssue:
    """One fault at one place."""

    kind: IssueKind
    step_id: str
    """Empty when the fault is not one step's."""
    field: str
    """The input, or where in the step the fault is, such as `inputs.by[0]` or `when`; empty for the whole step."""
    message: str
    details: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """Facts for programs: candidates, schemas, the names that are known."""

    @property
    def is_structural(self) -> bool:
        """Whether the plan cannot run because of it."""
        return self.kind not in WARNINGS


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """Everything that validation found, at once."""

    ok: bool
    """Nothing structural, and nothing missing from the user."""
    issues: list[ValidationIssue]
    has_structural_errors: bool = False
    missing_user_bindings: dict[str, list[str]] = dataclasses.field(default_factory=dict[str, list[str]])
    """Key → the places that need it, as `step.input`."""

    @classmethod
    def of(cls, issues: list[ValidationIssue], missing: dict[str, list[str]] | None = None) -> "ValidationResult":
        """Sum up `issues` and missing keys."""
        structural = any(issue.is_structural for issue in issues)
        return cls(not structural and not missing, issues, structural, missing or {})

    def is_partial_ok(self) -> bool:
        """Whether the plan would run if the user gave what is missing, and something is missing."""
        return not self.has_structural_errors and bool(self.missing_user_bindings)

    def summary(self) -> str:
        """Return one line for each issue and missing key, as people and models read them."""
        if self.ok and not self.issues:
            return "Plan is valid."
        verdict = "Plan is valid, with warnings:" if self.ok else "Plan is invalid:"
        if not self.ok and not self.has_structural_errors:
            verdict = "Plan is incomplete:"
        issues = (
            f"- [{issue.kind}] step={issue.step_id} field={issue.field}: {issue.message}" for issue in self.issues
        )
        missing = (
            f"- [missing_user_input] {key}: needed by {', '.join(at)}" for key, at in self.missing_user_bindings.items()
        )
        return "\n".join([verdict, *issues, *missing])


@dataclass(frozen=True, slots=True)
class MissingUserInput:
    """A key that the user has to give, and where it is needed."""

    key: str
    locations: list[str]


def get_missing_user_inputs(result: ValidationResult) -> list[MissingUserInput]:
    """Return what has to be asked of the user, in the order of the plan."""
    return [MissingUserInput(key, places) for key, places in result.missing_user_bindings.items()]
