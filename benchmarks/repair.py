"""The repair scoreboard: for each class of fault, how often it is found, located, mended, and mended wrongly."""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from benchmarks.corpora import nestful, synthetic_plans
from benchmarks.faults import Breaker, Document, Fault, copy_of
from planner.catalog import ActionCatalog
from planner.plan import CandidatePlan, ValidationResult, repair, validate

MENDABLE = 9
"""The first classes of `Breaker.classes` have an explanation in the plan; the others should be left alone."""
PROTOTYPE = {
    "action typo": 100, "action invented": 82, "missing input": 0, "input invented": 97, "dangling reference": 100,
    "output invented": 77, "number as text": 100, "cycle": 0, "duplicate id": 0, "extra key": 100, "dropped step": 0,
    "reference to the wrong step": 0, "swapped action": 0,
}  # fmt: skip
"""Per cent repaired to the original by the prototype of planning.md section 3.2, on NESTFUL with its executable split."""


@dataclass
class Score:
    """One row of the board, as counts."""

    made: int = 0
    found: int = 0
    located: int = 0
    gold: int = 0
    harm: int = 0
    """Valid after the repair, but not the original; of those that were invalid before."""
    issues: int = 0

    def add(self, fault: Fault, gold: CandidatePlan, catalog: ActionCatalog) -> None:
        """Validate and repair one broken plan."""
        plan = CandidatePlan.from_dict(fault.plan)
        before = validate(plan, catalog)
        self.made += 1
        self.found += before.has_structural_errors
        self.located += located(fault, before)
        self.issues += sum(issue.is_structural for issue in before.issues)
        mended = repair(plan, before.issues, catalog).plan
        if before.has_structural_errors and not validate(mended, catalog).has_structural_errors:
            same = mended.to_dict() == gold.to_dict()
            self.gold += same
            self.harm += not same

    def rows(self, what: str) -> list[dict[str, object]]:
        """Return the row in per cent."""
        return [
            row(f"{what}: found", self.found, self.made, "100", ""),
            row(f"{what}: located", self.located, self.made, "", ""),
            row(f"{what}: repaired to the original", self.gold, self.made, "", PROTOTYPE.get(what, "")),
            row(f"{what}: harm", self.harm, self.made, "< 1", ""),
        ]


def row(what: str, count: int, total: int, goal: str, peer: object) -> dict[str, object]:
    """Return one line of the benchmark."""
    return {
        "what": what,
        "value": round(100 * count / max(total, 1), 1),
        "unit": f"% of {total}",
        "goal": goal,
        "peer": peer,
    }


def located(fault: Fault, result: ValidationResult) -> bool:
    """Tell whether an issue of the right kind stands at the right step and field."""
    return any(
        issue.kind in fault.kinds and issue.step_id == fault.step_id and fault.field in ("*", issue.field)
        for issue in result.issues
    )


def board(corpora: list[tuple[ActionCatalog, list[CandidatePlan]]], seeds: int) -> dict[str, Score]:
    """Break every plan in every way, alone and two ways at once, and repair it."""
    scores = defaultdict[str, Score](Score)
    for catalog, plans in corpora:
        for seed in range(seeds):
            breaker = Breaker(catalog, seed)
            classes = list(breaker.classes())
            pairs = list(combinations(classes[:MENDABLE], 2))
            for gold in plans:
                for name, make in classes:
                    if (fault := make(copy_of(gold))) is not None:
                        scores[name].add(fault, gold, catalog)
                (_, one), (_, two) = breaker.random.choice(pairs)
                if (fault := both(one, two, copy_of(gold))) is not None:
                    scores["two mendable faults"].add(fault, gold, catalog)
                (_, one), (_, two) = breaker.random.sample(classes, 2)
                if (fault := both(one, two, copy_of(gold))) is not None:
                    scores["any two faults"].add(fault, gold, catalog)
    return scores


Make = Callable[[Document], Fault | None]


def both(one: Make, two: Make, plan: Document) -> Fault | None:
    """Put two faults into one plan; the first may leave no place for the second."""
    first = one(plan)
    if first is None:
        return None
    try:
        second = two(copy.deepcopy(first.plan))
    except (KeyError, StopIteration):
        return None
    return second


def run(*, quick: bool = False) -> list[dict[str, object]]:
    """Measure; `quick` takes one seed in place of three."""
    corpora = nestful() or synthetic_plans()
    scores = board(corpora, 1 if quick else 3)
    rows = [line for name, score in scores.items() for line in score.rows(name)]
    clean = [(validate(plan, catalog), plan, catalog) for catalog, plans in corpora for plan in plans]
    touched = sum(bool(repair(plan, result.issues, catalog).patches) for result, plan, catalog in clean)
    rows.append(row("right plans changed", touched, len(clean), "0", ""))
    made = sum(score.made for score in scores.values())
    rows.append(row("all classes: harm", sum(score.harm for score in scores.values()), made, "< 1", ""))
    return rows


if __name__ == "__main__":
    for name, score in board(nestful() or synthetic_plans(), 3).items():
        shares = [100 * count / max(score.made, 1) for count in (score.found, score.located, score.gold, score.harm)]
        print(
            f"{name:30} n={score.made:4}  found {shares[0]:5.1f}  located {shares[1]:5.1f}  gold {shares[2]:5.1f}  harm {shares[3]:5.1f}  issues {score.issues / max(score.made, 1):.2f}"
        )
