"""The repair scoreboard: for each class of fault, how often it is found, located, mended, and mended wrongly."""

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from benchmarks.corpora import nestful, synthetic_plans
from benchmarks.faults import Breaker, Document, Fault, copy_of
from benchmarks.rows import Figure, Row
from planner.catalog import ActionCatalog
from planner.plan import CandidatePlan, ValidationResult, repair, validate

MENDABLE = 9
"""The first classes of `Breaker.classes` have an explanation in the plan; the others should be left alone."""
PROTOTYPE = {
    "action typo": 100, "action invented": 82, "missing input": 0, "input invented": 97, "dangling reference": 100,
    "output invented": 77, "number as text": 100, "cycle": 0, "duplicate id": 0, "extra key": 100, "dropped step": 0,
    "reference to the wrong step": 0, "swapped action": 0,
}  # fmt: skip
"""Per cent repaired to the original by the prototype of planning.md section 3.2, which had the executable split too and
invented other names. Ours are in `benchmarks/faults.py`; most were known to whoever wrote the repair."""


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

    def rows(self, what: str) -> list[Row]:
        """Return the rows of one class, in per cent."""
        unit = f"% of {self.made}"
        peers: dict[str, Figure] = {"prototype": PROTOTYPE[what]} if what in PROTOTYPE else {}
        return [
            Row(what=f"{what}: found", value=self.share(self.found), unit=unit),
            Row(what=f"{what}: located", value=self.share(self.located), unit=unit),
            Row(what=f"{what}: repaired to the original", value=self.share(self.gold), unit=unit, peers=peers),
            Row(what=f"{what}: harm", value=self.share(self.harm), unit=unit, goal="< 1"),
        ]

    def share(self, count: int) -> float:
        """Return a count in per cent of the faults made."""
        return round(100 * count / max(self.made, 1), 1)


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


def run(*, quick: bool = False) -> list[Row]:
    """Measure; `quick` takes one seed in place of three."""
    corpora = nestful() or synthetic_plans()
    scores = board(corpora, 1 if quick else 3)
    rows = [row for name, score in scores.items() for row in score.rows(name)]
    right = [(validate(plan, catalog), plan, catalog) for catalog, plans in corpora for plan in plans]
    touched = sum(bool(repair(plan, result.issues, catalog).patches) for result, plan, catalog in right)
    rows.append(Row(what="right plans that were changed", value=touched, unit=f"of {len(right)}", goal="0"))
    total = Score(made=sum(score.made for score in scores.values()))
    harm = total.share(sum(score.harm for score in scores.values()))
    rows.append(Row(what="all classes: harm", value=harm, unit=f"% of {total.made}", goal="< 1"))
    return rows
