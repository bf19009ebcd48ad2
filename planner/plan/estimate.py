"""What a plan will take, from what its actions declare or were observed to take."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from planner.catalog import ActionCatalog, ActionSpec
from planner.errors import InvalidRef, UnknownAction
from planner.limits import Limits
from planner.plan.graph import PlanGraph, build_graph
from planner.plan.models import CandidatePlan, PlanStep, resolve_step

PARALLEL_ITEMS = Limits().concurrency
"""Items of a `for_each` that work at the same time where the action sets no bound of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run of a plan is expected to take. A `for_each` counts as one item unless its list is a literal."""

    steps: int
    seconds: float
    """Along the critical path; 0 when nothing was declared or observed."""
    critical_path: tuple[str, ...]
    """The way that takes longest; among equal ones, so also when nothing is known, the one of the most steps."""
    amount: float
    """All steps' declared amounts together."""
    tokens: int
    width: int
    """The most steps on one level of the plan: what may run at the same time when steps take equally long."""
    effects: Mapping[str, tuple[str, ...]]
    """`read`, `write`, `external` → the steps that have this effect; the ones of unknown actions are not listed."""
    approvals: tuple[str, ...]
    """Steps that wait for a person."""


@dataclass(frozen=True, slots=True)
class _Load:
    """What one step takes."""

    seconds: float = 0.0
    amount: float = 0.0
    tokens: int = 0


def estimate(plan: CandidatePlan, catalog: ActionCatalog, *, observed: Mapping[str, float] | None = None) -> Estimate:
    """Estimate `plan`; `observed` gives seconds by action reference, which count more than what was declared.

    A plan that is not valid is estimated as far as it can be: steps of unknown actions take nothing, and steps in a
    cycle are on no path.
    """
    loads: dict[str, _Load] = {}
    effects = defaultdict[str, list[str]](list)
    approvals: list[str] = []
    for step in plan.steps:
        spec = action_of(step, catalog)
        loads[step.id] = _load(step, spec, observed or {})
        if spec is not None:
            effects[spec.policy.effect].append(step.id)
            if spec.policy.approval:
                approvals.append(step.id)
    graph = build_graph(plan)
    path, seconds = _critical_path(graph, loads)
    return Estimate(
        steps=len(plan.steps),
        seconds=seconds,
        critical_path=path,
        amount=sum(load.amount for load in loads.values()),
        tokens=sum(load.tokens for load in loads.values()),
        width=graph.width,
        effects={effect: tuple(steps) for effect, steps in effects.items()},
        approvals=tuple(approvals),
    )


def action_of(step: PlanStep, catalog: ActionCatalog) -> ActionSpec | None:
    """Return the action that `step` calls, or `None` when the catalog does not have it."""
    if step.action_ref is None:
        return catalog.get_action_by_name(step.action or "")
    try:
        return resolve_step(step, catalog)
    except (InvalidRef, UnknownAction):
        return None


def _load(step: PlanStep, spec: ActionSpec | None, observed: Mapping[str, float]) -> _Load:
    if spec is None:
        return _Load()
    cost = spec.policy.cost
    one = _Load(observed.get(spec.ref, cost.seconds), cost.amount, cost.tokens)
    listed: object = step.for_each
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return one
    items = len(cast("Sequence[object]", listed))
    at_once = min(spec.policy.max_concurrency or PARALLEL_ITEMS, PARALLEL_ITEMS)
    rounds = -(-items // at_once)
    return replace(one, seconds=one.seconds * rounds, amount=one.amount * items, tokens=one.tokens * items)


def _critical_path(graph: PlanGraph, loads: Mapping[str, _Load]) -> tuple[tuple[str, ...], float]:
    """Return the longest way by seconds, then by steps, and its seconds."""
    finished: dict[str, tuple[float, int]] = {}
    came_from: dict[str, str] = {}
    for step in graph.order:
        before = (0.0, 0)
        for other in sorted(graph.edges[step]):
            if finished[other] > before:
                before, came_from[step] = finished[other], other
        finished[step] = (before[0] + loads[step].seconds, before[1] + 1)
    if not finished:
        return (), 0.0
    last = max(finished, key=lambda step: finished[step])
    path = [last]
    while (previous := came_from.get(path[-1])) is not None:
        path.append(previous)
    return tuple(reversed(path)), finished[last][0]
