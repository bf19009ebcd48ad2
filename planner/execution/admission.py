"""Whether a plan may run, and what a dry run shows of it; nothing is called."""

import asyncio
from functools import partial
from typing import Any

from planner.catalog import ActionCatalog
from planner.catalog.spec import Effect
from planner.errors import BindingError
from planner.execution.bind import Values, resolve
from planner.execution.outcome import ExecutionResult, Preview
from planner.execution.request import RunRequest
from planner.execution.secrets import masked
from planner.execution.summary import not_advanced
from planner.limits import Limits
from planner.plan import CandidatePlan, ValidationResult, build_graph, estimate, resolve_step, validate
from planner.plan.bindings import references_in

LARGE_PLAN = 500
"""Steps; a larger plan is checked in a thread, since that takes long enough to be felt by everything else."""


def refuse(
    plan: CandidatePlan,
    request: RunRequest,
    catalog: ActionCatalog,
    limits: Limits,
    *,
    can_ask: bool = False,
    approve_effects: frozenset[Effect] = frozenset(),
) -> tuple[str | None, ValidationResult]:
    """Say why a plan is not run, or `None`, and what validation found.

    Args:
        plan: The plan of `request`, with the versions that count.
        request: Who asks, and with which inputs; a dry run may show what would need approval.
        catalog: Whose actions are called.
        limits: Bounds.
        can_ask: Whether the run can wait for a person, which takes a checkpointer.
        approve_effects: An action with one of these needs approval, whatever it declares.
    """
    validation = validate(plan, catalog, request.user_inputs, identity=request.context.identity, limits=limits)
    if not validation.ok:
        kind = "InvalidPlan" if validation.has_structural_errors else "MissingInputs"
        return f"{kind}: {validation.summary()}", validation
    if request.dry_run:
        return None, validation
    specs = {step.id: resolve_step(step, catalog) for step in plan.steps}
    waiting = [
        f"{step} ({spec.name})"
        for step, spec in specs.items()
        if spec.policy.approval or spec.policy.effect in approve_effects
    ]
    if waiting and not can_ask:
        names = ", ".join(waiting)
        reason = (
            f"ApprovalRequired: {names} may only run when a person agrees, and a run without a checkpointer "
            "cannot wait for the answer; give one"
        )
        return reason, validation
    described = [spec.name for spec in specs.values() if spec.call is None]
    if described:
        names = ", ".join(described)
        return f"NotExecutable: {names} is only described in the catalog, so it cannot be called", validation
    return None, validation


def preview(request: RunRequest, catalog: ActionCatalog) -> Preview:
    """Show the order of a plan, its bindings with what is known filled in, and what it will take."""
    known = Values(masked(request.user_inputs), {})

    def shown(value: Any) -> Any:
        later = any(reference.root != "user" for _, reference in references_in(value))
        try:
            return value if later else resolve(value, known, None, ())
        except BindingError:
            return value

    plan = request.plan
    bindings = {step.id: {name: shown(value) for name, value in step.inputs.items()} for step in plan.steps}
    return Preview(order=build_graph(plan).order, bindings=bindings, estimate=estimate(plan, catalog))


def dry_run(request: RunRequest, catalog: ActionCatalog, limits: Limits) -> ExecutionResult:
    """Return what a dry run shows."""
    reason, validation = refuse(request.plan, request, catalog, limits)
    if reason is not None:
        return not_advanced(request, "failed", reason, validation)
    context = request.context
    return ExecutionResult(
        ok=True,
        outputs={},
        status="pending",
        run_id=context.run_id,
        plan_id=request.plan.id,
        preview=preview(request, catalog),
        validation=validation,
        tags=context.tags,
    )


async def refuse_in_time(plan: CandidatePlan, *arguments: Any, **asks: Any) -> tuple[str | None, ValidationResult]:
    """As `refuse`, without holding up everything else."""
    check = partial(refuse, plan, *arguments, **asks)
    return await asyncio.to_thread(check) if len(plan.steps) > LARGE_PLAN else check()
