"""Planning on after a failure: what is asked, and what has to be true of the answer before it is run.

Each replan is a LangGraph task of its own. Its result is the plan, so a run that is resumed goes on with that plan and
does not ask again. What is done stays in the plan as it is, and is neither called again nor looked up by inputs. What
failed leaves the plan; where it may have left an effect, the run keeps it in mind as superseded, to undo or report it.
"""

from collections.abc import Collection
from typing import Any

from planner.catalog import to_plain
from planner.errors import PlannerError
from planner.execution.admission import refuse
from planner.execution.attempt import Stopped
from planner.execution.langgraph_tasks import durable
from planner.execution.request import RunRequest
from planner.execution.secrets import error_text
from planner.execution.state import RunState
from planner.execution.summary import LATEST
from planner.plan import CandidatePlan, PlanStep, resolve_step
from planner.plan.replanning import ReplanRequest, stronger
from storage.errors import StorageError

VERSION = 1
"""Of the record of a replan."""


async def replan(state: RunState) -> bool:
    """Ask for a new tail and go on with it; return whether there is one."""
    failed = _failed_step(state)
    if failed is None or state.revision >= state.max_replans:
        return False
    number = state.revision + 1
    if not _ended_by_somebody(state):
        state.restart()
    here: list[bool] = []

    async def ask() -> dict[str, Any]:
        here.append(True)
        plan, reason = await _asked(state, failed, number)
        return {"v": VERSION, "plan": None if plan is None else to_plain(plan.to_dict()).value, "reason": reason}

    record = await durable(f"!replan#{number}", ask, state.acknowledgements)
    if record["v"] != VERSION:
        raise ValueError(f"replan {number} was recorded by another version of goalgraph ({record['v']})")
    if here:
        details = {"plan": record["plan"], "revision": number}
        state.publisher.publish("replan", failed, message=record["reason"], details=details)
    if state.overruled is not None:
        state.stop_reason, state.stop_message = state.overruled
        state.stopping.set()
    if record["plan"] is None:
        return False
    if state.stop_reason == "failure":
        state.stop_reason, state.stop_message = None, ""
    # also when the run was stopped: what its earlier lives did is in this plan, and nothing of it begins any more
    state.adopt(CandidatePlan.from_dict(record["plan"]), number)
    return True


def _failed_step(state: RunState) -> str | None:
    """Return the step whose failure ended the plan: the first that failed by itself, before any that was in flight."""
    failed = [one for one in state.outcomes.values() if one.failed and not state.steps[one.step_id].optional]
    first = min(failed, key=lambda one: (one.status != "failed", one.finished_at or LATEST), default=None)
    return None if first is None else first.step_id


def _ended_by_somebody(state: RunState) -> bool:
    return state.overruled is not None or state.stop_reason in ("cancelled", "deadline")


def _repeatable(state: RunState) -> str | None:
    """Return a step that may have taken effect and that a new plan would do again, under another key."""
    for step_id, outcome in state.outcomes.items():
        policy = state.specs[step_id].policy
        if policy.effect == "read" or policy.idempotent == "yes":
            continue
        if any(one.uncertain for one in (outcome, *outcome.items)):
            return step_id
    return None


async def _asked(state: RunState, failed: str, number: int) -> tuple[CandidatePlan | None, str]:
    """Return the next plan, or why there is none."""
    outcome = state.outcomes[failed]
    failure = f"step {failed!r} ({state.specs[failed].name}) {outcome.status}: {outcome.error_type}: {outcome.error}"
    if state.replanner is None:
        return None, f"{failure}; there is nobody to plan on"
    if _ended_by_somebody(state):
        return None, f"{failure}; not planned on, because the run was stopped"
    if (uncertain := _repeatable(state)) is not None:
        return None, f"{failure}; not planned on, because {uncertain!r} may have taken effect, and must not be repeated"
    done = [step_id for step_id in state.graph.order if state.outcomes[step_id].status == "succeeded"]
    request = ReplanRequest(
        plan=state.plan,
        done=done,
        failed_step=failed,
        failure=failure,
        user_inputs=state.user_inputs,
        catalog=state.catalog,
        identity=state.context.identity,
        revision=number,
    )
    try:
        tail = await state.inner.run(state.replanner(request), state.limits.step_timeout)
        if tail is None:
            return None, f"{failure}; no other way was found"
        return _next_plan(state, tail, done), failure
    except Stopped:
        if state.broken is not None:
            raise state.broken from None
        return None, f"{failure}; not planned on, because the run was stopped"
    except StorageError:
        raise  # resuming the run mends it
    except Exception as error:  # noqa: BLE001 - a planner that fails is a run without another plan
        why = f"{type(error).__name__}: {error_text(error, state.secrets)}"
        return None, f"{failure}; planning on failed with {why}"


def _next_plan(state: RunState, tail: CandidatePlan, done: Collection[str]) -> CandidatePlan:
    """Put what is done before the tail, with the version of every action, and check the whole.

    Raises:
        PlannerError: it must not run; the message says why.
    """
    kept = [_without_missing(step, done) for step in state.plan.steps if step.id in done]
    same = {step.id: step for step in state.plan.steps if step.id in done}
    fresh = [step for step in tail.steps if step.id not in done]
    for step in tail.steps:
        if step.id in same and step.inputs != same[step.id].inputs:
            raise PlannerError(f"the new plan changes {step.id!r}, which is done")
    if not fresh:
        raise PlannerError("the new plan has no further step")
    bold = stronger((resolve_step(step, state.catalog) for step in fresh), state.specs.values())
    if bold:
        raise PlannerError(f"the new plan calls {bold[0].name}, which changes more than any step before it")
    steps = [step.model_copy(update={"action_ref": resolve_step(step, state.catalog).ref}) for step in (*kept, *fresh)]
    outputs = tail.outputs or state.plan.outputs
    plan = CandidatePlan(steps=tuple(steps), goal=state.plan.goal, outputs=outputs, extras=state.plan.extras)
    reason, _ = refuse(
        plan,
        RunRequest(plan=plan, user_inputs=state.user_inputs, context=state.context),
        state.catalog,
        state.limits,
        can_ask=state.acknowledgements is not None,
        approve_effects=state.approve_effects,
    )
    if reason is not None:
        raise PlannerError(reason)
    return plan


def _without_missing(step: PlanStep, done: Collection[str]) -> PlanStep:
    """Return a step that is done without the order after steps that are no longer there."""
    return step.model_copy(update={"after": tuple(after for after in step.after if after.step in done)})
