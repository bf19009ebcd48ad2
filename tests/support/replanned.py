"""Runs that are planned on after a failure: a replanner that has its answer, and what a run told of it."""

from typing import Any

from planner.catalog import ActionContext, action
from planner.plan import CandidatePlan
from planner.plan.replanning import ReplanRequest
from tests.support.ledger import step
from tests.support.running import Runner, make_plan

FAILS = make_plan(step("a"), step("f", "a", action="fail"))


@action
async def asks(ctx: ActionContext, uses: list[str] | None = None) -> str:
    return str(ctx.ask("Go on?"))


def replanned(
    tail: CandidatePlan | None, *actions: object, told: list[ReplanRequest] | None = None, **options: Any
) -> Runner:
    """Return a runner whose replanner answers `tail`."""

    async def answer(request: ReplanRequest, /) -> CandidatePlan | None:
        if told is not None:
            told.append(request)
        return tail

    runner = Runner(*actions, **options)
    runner.executor.replanner = answer
    return runner


def message(runner: Runner) -> str:
    """Return what was told of the first replan."""
    return str(next(event.message for event in runner.events if event.phase == "replan"))
