"""What a plan will take: the critical path, totals, width and effects, for plans of every shape."""

from typing import Any

import pytest

from planner.catalog import ActionCatalog, ActionPolicy, ActionSpec, Cost, Slot, make_ref
from planner.plan import CandidatePlan, estimate


def spec(name: str, **policy: Any) -> ActionSpec:
    return ActionSpec(
        name=name,
        ref=make_ref("action", name, "1"),
        kind="action",
        version="1",
        inputs=(),
        outputs=(Slot("result"),),
        policy=ActionPolicy(**policy),
    )


def plan(*steps: dict[str, Any]) -> CandidatePlan:
    return CandidatePlan.from_dict({"steps": list(steps)})


@pytest.fixture
def catalog() -> ActionCatalog:
    return ActionCatalog([
        spec("quick", cost=Cost(seconds=1, amount=0.5, tokens=10)),
        spec("slow", cost=Cost(seconds=10), max_concurrency=2),
        spec("free"),
        spec("mail", effect="external", approval=True),
        spec("store", effect="write"),
    ])  # fmt: skip


def test_the_critical_path_is_the_longest_by_seconds(catalog: ActionCatalog) -> None:
    """One slow step outweighs two quick ones."""
    found = estimate(
        plan(
            {"id": "a", "action": "quick"},
            {"id": "b", "action": "quick", "inputs": {"x": "${a.result}"}},
            {"id": "c", "action": "slow"},
            {"id": "end", "action": "quick", "inputs": {"x": "${b.result}"}, "after": ["c"]},
        ),
        catalog,
    )

    assert found.critical_path == ("c", "end")
    assert found.seconds == 11
    assert (found.steps, found.width) == (4, 2)
    assert (found.amount, found.tokens) == (1.5, 30)


def test_without_declared_seconds_the_longest_chain_is_the_critical_path(catalog: ActionCatalog) -> None:
    """Nothing is known about time, so it stays 0."""
    found = estimate(
        plan(
            {"id": "a", "action": "free"},
            {"id": "b", "action": "free", "inputs": {"x": "${a.result}"}},
            {"id": "alone", "action": "free"},
        ),
        catalog,
    )

    assert (found.critical_path, found.seconds) == (("a", "b"), 0)


def test_observed_seconds_count_more_than_declared_ones(catalog: ActionCatalog) -> None:
    """Measured beats promised."""
    steps = plan({"id": "a", "action": "slow"}, {"id": "b", "action": "quick"})

    found = estimate(steps, catalog, observed={"action:quick@1": 30})

    assert (found.critical_path, found.seconds) == (("b",), 30)


@pytest.mark.parametrize(
    ("action", "items", "seconds", "amount"),
    [("quick", 64, 1, 32), ("quick", 65, 2, 32.5), ("slow", 5, 30, 0), ("quick", 0, 0, 0)],
)
def test_a_literal_list_of_items_is_counted(
    catalog: ActionCatalog, action: str, items: int, seconds: float, amount: float
) -> None:
    """Items run side by side, up to the run's bound or the action's own."""
    found = estimate(plan({"id": "a", "action": action, "for_each": list(range(items))}), catalog)

    assert (found.seconds, found.amount) == (seconds, amount)


def test_a_bound_list_of_items_counts_as_one(catalog: ActionCatalog) -> None:
    """Its length is not known before the plan runs."""
    found = estimate(plan({"id": "a", "action": "quick", "for_each": "${user.files}"}), catalog)

    assert (found.seconds, found.amount) == (1, 0.5)


def test_effects_and_approvals_are_listed_by_step(catalog: ActionCatalog) -> None:
    """It is what a person looks at before agreeing."""
    found = estimate(
        plan({"id": "a", "action": "free"}, {"id": "b", "action": "mail"}, {"id": "c", "action": "store"}), catalog
    )

    assert found.effects == {"read": ("a",), "external": ("b",), "write": ("c",)}
    assert found.approvals == ("b",)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{"id": "a", "action": "nobody_has_this"}],
        [{"id": "a", "action_ref": "not a reference"}],
        [{"id": "a", "action_ref": "action:quick@99"}],
        [{"id": "a", "action": "free", "inputs": {"x": "${a.result}"}}],
        [{"id": "a", "action": "free"}, {"id": "a", "action": "free", "inputs": {"x": "${ghost.result}"}}],
    ],
    ids=["no steps", "unknown", "bad reference", "unknown version", "waits for itself", "duplicate"],
)
def test_a_plan_that_cannot_run_is_estimated_as_far_as_it_goes(
    catalog: ActionCatalog, steps: list[dict[str, Any]]
) -> None:
    """It is ranked beside others, so it must not raise."""
    assert estimate(plan(*steps), catalog).steps == len(steps)


def test_steps_behind_a_cycle_are_on_no_path(catalog: ActionCatalog) -> None:
    """They can never start."""
    found = estimate(
        plan(
            {"id": "a", "action": "quick", "inputs": {"x": "${b.result}"}},
            {"id": "b", "action": "quick", "inputs": {"x": "${a.result}"}},
            {"id": "c", "action": "free"},
        ),
        catalog,
    )

    assert (found.critical_path, found.amount) == (("c",), 1.0)


def test_a_chain_of_ten_thousand_steps_is_estimated(catalog: ActionCatalog) -> None:
    """Nothing recurses."""
    chain = [{"id": "s0", "action": "quick"}] + [
        {"id": f"s{at}", "action": "quick", "inputs": {"x": f"${{s{at - 1}.result}}"}} for at in range(1, 10_000)
    ]

    found = estimate(plan(*chain), catalog)

    assert (found.seconds, len(found.critical_path)) == (10_000, 10_000)
