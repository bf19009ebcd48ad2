"""The best of several plans is the one that can run, asks least, changes least, costs least and ends first."""

from typing import Any

from planner.drafting import Candidate, rank
from planner.plan import CandidatePlan, Estimate, ValidationIssue, ValidationResult

FAULT = ValidationIssue("cycle", "a", "", "these steps wait for each other")
OK = ValidationResult.of([])


def candidate(name: str, validation: ValidationResult = OK, *, steps: int = 1, **estimate: Any) -> Candidate:
    effects = {"external": (), "write": (), **estimate.pop("effects", {})}
    facts = {"seconds": 1.0, "amount": 1.0, "tokens": 0, "width": 1, "critical_path": (), "approvals": (), **estimate}
    plan = CandidatePlan.from_dict({"goal": name, "steps": [{"id": f"s{at}", "action": "a"} for at in range(steps)]})
    expected = None if validation.has_structural_errors else Estimate(steps=steps, effects=effects, **facts)
    return Candidate(plan=plan, validation=validation, estimate=expected)


def names(candidates: list[Candidate]) -> list[str]:
    return [one.plan.goal for one in candidates]


def test_plans_are_ranked_by_one_thing_after_the_other() -> None:
    """Each of these is worse than the one before in the first thing that differs."""
    in_order = [
        candidate("best"),
        candidate("longer", steps=2),
        candidate("slower", seconds=2.0),
        candidate("dearer", amount=2.0, seconds=0.5),
        candidate("writes", effects={"write": ("s",)}, amount=0.0),
        candidate("cannot be hidden", effects={"external": ("s",)}, amount=0.0),
        candidate("asks", ValidationResult.of([], {"k": ["s.x"]})),
        candidate("asks more", ValidationResult.of([], {"k": ["s.x"], "l": ["s.y"]})),
        candidate("broken", ValidationResult.of([FAULT])),
        candidate("more broken", ValidationResult.of([FAULT, FAULT])),
    ]

    assert names(rank(in_order[::-1])) == names(in_order)


def test_the_same_plan_twice_is_one_candidate() -> None:
    """The better validation of it counts, for it may have been made with more knowledge."""
    assert names(rank([candidate("a", ValidationResult.of([FAULT])), candidate("b"), candidate("a")])) == ["a", "b"]


def test_warnings_do_not_make_a_plan_worse() -> None:
    """They are no faults."""
    warned = ValidationResult.of([ValidationIssue("unused_step", "s", "", "nothing uses it")])

    assert names(rank([candidate("warned", warned), candidate("clean", seconds=9.0)])) == ["warned", "clean"]
