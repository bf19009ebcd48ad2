"""Quick actions: a named function, or an action of the catalog as a plan of one step; asked first where that is due."""

import logging
from typing import Any

from langchain_core.utils.uuid import uuid7

from planner.catalog import ActionSpec, Slot
from planner.dialogue.answers import take
from planner.dialogue.goals import consider
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.parts import YES_OR_NO, Turn
from planner.dialogue.quick_actions import QuickActionContext, QuickActionSpec
from planner.dialogue.state import PendingQuestion
from planner.dialogue.turn import AgentTurnResult
from planner.dialogue.wording import LONGEST_ANSWER, cut, value_text
from planner.drafting import InputParser
from planner.drafting.form import input_form
from planner.errors import PlannerError, closest
from planner.plan import CandidatePlan

logger = logging.getLogger("goalgraph")


async def quick_action(turn: Turn, routed: RoutedIntent) -> AgentTurnResult:
    """Do a quick action, after asking where it says so."""
    registry, name = turn.parts.quick_actions, routed.quick_action_id or ""
    spec = registry.get_spec(name)
    if spec is None:
        known = list(registry.actions)
        about = f"the closest: {closest(name, known)}" if known else "there are none"
        return turn.says(f"There is no quick action {cut(name, 60)!r}; {about}.")
    if not spec.requires_confirmation:
        return await do(turn, spec, routed.argument, agreed=False)
    turn.set_aside()
    asked = f"{spec.description.rstrip('.')}{f' ({cut(routed.argument)})' if routed.argument else ''}."
    return turn.asks(
        PendingQuestion(
            kind="confirm",
            text=f"{asked}\nSay yes to do it, or no.",
            form=YES_OR_NO,
            quick_action_id=spec.id,
            argument=routed.argument,
            run_id=str(uuid7()),
        )
    )


async def confirmed(turn: Turn, pending: PendingQuestion, reply: str) -> AgentTurnResult:
    """Do the quick action that was agreed to."""
    if reply != "approve":
        turn.before.append("Please say yes or no.")
        return turn.asks(pending)
    spec = turn.parts.quick_actions.get_spec(pending.quick_action_id or "")
    if spec is None:
        turn.forget()
        return turn.says(f"There is no quick action {pending.quick_action_id!r} any more.")
    if spec.id in turn.parts.quick_actions.handlers:
        turn.forget()
        await turn.parts.memory.save(turn.state)  # agreed to once: a repeated yes finds no question
    return await do(turn, spec, pending.argument, agreed=True, run_id=pending.run_id)


async def do(
    turn: Turn, spec: QuickActionSpec, argument: str, *, agreed: bool, run_id: str | None = None
) -> AgentTurnResult:
    """Do a quick action; what its handler raises becomes a sentence."""
    parts, state = turn.parts, turn.state
    if parts.quick_actions.get_handler(spec.id) is None:
        return await _as_plan(turn, spec, argument, agreed=agreed, run_id=run_id)
    context = QuickActionContext(
        user_message=turn.message,
        argument=argument,
        session_state=state,
        identity=state.identity,
        planner=turn.planner,
    )
    try:
        found = await parts.quick_actions.run(spec.id, context, confirmed=agreed)
    except Exception as error:  # a handler of the application may raise anything, and a user reads it
        logger.warning("the quick action %s failed", spec.id, exc_info=True)
        return turn.says(f"{spec.id} did not work: {type(error).__name__}: {cut(str(error), 300)}")
    return turn.says(
        "Done." if found is None else cut(found, LONGEST_ANSWER) if isinstance(found, str) else value_text(found)
    )


async def _as_plan(
    turn: Turn, spec: QuickActionSpec, argument: str, *, agreed: bool, run_id: str | None
) -> AgentTurnResult:
    """Run an action of the catalog as a plan of one step; what it lacks is asked like any input."""
    catalog = turn.parts.service.catalog
    named = spec.action_ref or ""
    try:
        action = catalog.get_action_by_name(named) or catalog.get_action(named)
    except PlannerError as error:
        return turn.says(f"{spec.id} cannot be done: {error}.")
    inputs, given = await _inputs(turn, action, argument)
    plan = CandidatePlan.from_dict(
        {
            "goal": spec.description,
            "steps": [{"id": "do", "action_ref": action.ref, "action": action.name, "inputs": inputs}],
        }
    )
    pending = turn.state.pending
    if pending is not None and pending.run_id != run_id:
        turn.set_aside()
    form = input_form(plan, list(given), catalog)
    question = PendingQuestion(
        kind="plan", text="", form=form, goal=spec.description, plan=plan, run_id=run_id or str(uuid7())
    )
    return await consider(turn, question.model_copy(update={"inputs": take(turn, question, given)}), agreed=agreed)


async def _inputs(turn: Turn, action: ActionSpec, argument: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the step binds, and which of it the argument gives."""
    wanted = {slot.name: slot for slot in action.inputs}
    required = [slot for slot in action.inputs if slot.required]
    service = turn.parts.service
    parser = InputParser(None, service.catalog, service.limits)
    given: dict[str, Any] = {}
    if argument:
        alone = required if len(required) == 1 else list(wanted.values())[:1] if len(wanted) == 1 else required
        for slots in (list(wanted.values()), alone):
            if not given and slots:
                read = await parser.parse_message_for_fields(
                    message=argument, missing_keys=[slot.name for slot in slots], schemas=_schemas(slots)
                )
                given = read.values
    bound = {name: f"${{user.{name}}}" for name in wanted if name in given or wanted[name].required}
    return bound, given


def _schemas(slots: list[Slot]) -> dict[str, Any]:
    return {slot.name: slot for slot in slots}
