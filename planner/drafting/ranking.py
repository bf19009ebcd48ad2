"""Which of several plans is the best: the one that can run, asks least, changes least, costs least, ends first."""

from collections.abc import Iterable

from planner.drafting.request import Candidate


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return `candidates` with distinct plans, best first; equals keep their order."""
    distinct: dict[str, Candidate] = {}
    for candidate in candidates:
        known = distinct.get(candidate.plan.id)
        if known is None or merit(candidate) < merit(known):
            distinct[candidate.plan.id] = candidate
    return sorted(distinct.values(), key=merit)


def merit(candidate: Candidate) -> tuple[float, ...]:
    """Return what candidates are compared by, the lowest first: validity, missing inputs, effects, cost, time, size."""
    validation, estimate = candidate.validation, candidate.estimate
    structural = sum(issue.is_structural for issue in validation.issues)
    standing = (0 if validation.ok else 1 if validation.is_partial_ok() else 2, structural)
    missing = (len(validation.missing_user_bindings),)
    if estimate is None:
        return (*standing, *missing, len(candidate.plan.steps))
    effects = (len(estimate.effects.get("external", ())), len(estimate.effects.get("write", ())))
    return (*standing, *missing, *effects, estimate.amount, estimate.tokens, estimate.seconds, estimate.steps)
