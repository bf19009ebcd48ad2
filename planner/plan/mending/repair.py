"""Mends what has exactly one explanation, and records each change so that it can be shown and undone."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from planner.catalog import ActionCatalog
from planner.plan.issues import IssueKind, ValidationIssue
from planner.plan.mending.mend_names import (
    drop_repeats,
    mend_action,
    mend_inputs,
    mend_literal,
    mend_mismatch,
    mend_step_id,
)
from planner.plan.mending.mend_references import (
    mend_unknown_output,
    mend_unknown_step,
    mend_user_keys,
    mend_whole_value,
)
from planner.plan.mending.patches import ABSENT, Patch
from planner.plan.mending.view import Path, PlanView, value_at, with_change
from planner.plan.models import CandidatePlan
from planner.plan.validator import validate

MAX_ROUNDS = 24
"""Each round mends one sort of fault everywhere, so a plan needs few; this only guards against going in circles."""
MAX_FAULTS = 200
"""Of one sort in one round. A plan with more was not misspelt."""
MAX_COMPARISONS = 200_000
"""In large plans and catalogs fewer faults are looked at, since each name is compared with all others."""


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The mended plan and every change that was made to it."""

    plan: CandidatePlan
    patches: tuple[Patch, ...]


class Mend(Protocol):
    """Proposes the changes that mend one issue, or none when it has no explanation or more than one."""

    def __call__(self, view: PlanView, issue: ValidationIssue, /) -> Iterator[Patch]:
        """Yield changes that do not depend on each other."""
        ...


STAGES: tuple[Mapping[IssueKind, Mend], ...] = (
    {"duplicate_step": drop_repeats},
    {"invalid_step_id": mend_step_id},
    {"unknown_action": mend_action, "action_mismatch": mend_mismatch},
    {"unknown_step": mend_unknown_step},
    {"unknown_output": mend_unknown_output, "type_mismatch": mend_whole_value},
    {"unknown_input": mend_inputs},
    {"invalid_literal": mend_literal},
)
"""What is mended first decides about the rest: only a known action tells which inputs and outputs are known."""


def repair(
    plan: CandidatePlan,
    issues: Sequence[ValidationIssue],
    catalog: ActionCatalog,
    *,
    user_keys: Collection[str] = (),
    actions: Collection[str] | None = None,
) -> RepairResult:
    """Mend those of `issues` that have exactly one explanation, and what comes to light once they are mended.

    A binding to the wrong but existing step, a missing input, a cycle and a valid action are never touched: nothing in
    the plan says what was meant. Repairing the result again changes nothing.

    Args:
        plan: The plan as it was written.
        issues: What `validate` found.
        catalog: What the plan was validated against.
        user_keys: Keys that the caller has; a binding may be a slip of one.
        actions: Names that may be brought in; `None` for all of the catalog.
    """
    patches: list[Patch] = []
    current = plan
    known = list(issues)
    for _ in range(MAX_ROUNDS if known or user_keys else 0):
        view = PlanView(current, catalog, user_keys, actions)
        found = _round(view, known)
        if not found:
            break
        patches += found
        current = _with_patches(current, found)
        known = [*validate(current, catalog).issues, *issues]
    return RepairResult(current, tuple(patches))


def undo_patches(plan: CandidatePlan, patches: Sequence[Patch]) -> CandidatePlan:
    """Take `patches` back, the last first: the plan as it was before the first of them.

    Raises:
        ValueError: the plan does not have what a patch left behind, so it was changed since.
    """
    document: Any = plan.to_dict()
    for patch in reversed([patch for patch in patches if patch.path]):
        if patch.after is not ABSENT and value_at(document, patch.path) != patch.after:
            raise ValueError(f"the plan was changed at {patch.path} after it was repaired, so that cannot be undone")
        document = with_change(document, patch.path, patch.after, patch.before)
    return CandidatePlan.from_dict(document)


def _round(view: PlanView, issues: Sequence[ValidationIssue]) -> list[Patch]:
    """Return the changes of the first stage that has any; the next stages look at the plan that these make."""
    if view.user_keys and (found := _compatible(mend_user_keys(view))):
        return found
    names = max(len(view.plan.steps), len(view.catalog), 1)
    most = min(MAX_FAULTS, max(10, MAX_COMPARISONS // names))
    for stage in STAGES:
        faults = [issue for issue in issues if issue.kind in stage][:most]
        found = _compatible(patch for issue in faults for patch in stage[issue.kind](view, issue))
        if found:
            return found
    return []


def _compatible(patches: Iterable[Patch]) -> list[Patch]:
    """Keep patches that do not touch the place of an earlier one; what is dropped is found again in the next round."""
    taken: set[Path] = set()
    above: set[Path] = set()
    kept: list[Patch] = []
    for patch in patches:
        prefixes = {patch.path[:length] for length in range(1, len(patch.path) + 1)}
        if patch.path not in above and prefixes.isdisjoint(taken):
            taken.add(patch.path)
            above |= prefixes
            kept.append(patch)
    return kept


def _with_patches(plan: CandidatePlan, patches: Sequence[Patch]) -> CandidatePlan:
    document: Any = plan.to_dict()
    for patch in patches:
        document = with_change(document, patch.path, patch.before, patch.after)
    return CandidatePlan.from_dict(document)
