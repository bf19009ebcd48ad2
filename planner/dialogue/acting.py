"""Quick actions: a named function, or an action of the catalog as a plan of one step; asked first where that is due."""

import logging
from typing import Any

from langchain_core.utils.uuid import uuid7

from planner.catalog import ActionSpec, Slot
from planner.dialogue.answers import UNREAD, take
from planner.dialogue.goals import consider
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.parts import YES_OR_NO
from planner.dialogue.quick_actions import Confirmation, QuickActionContext, QuickActionSpec
from planner.dialogue.running import taken
from planner.dialogue.state import PendingQuestion
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.dialogue.wording import LONGEST_ANSWER, cut, shown_value
from planner.drafting import InputParser
from planner.drafting.confidential import redacted
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
    if not spec.requires_confirmation or registry.get_handler(spec.id) is None:  # a plan asks by itself
        return await do(turn, spec, routed.argument, agreed=False)
    argument = redacted(routed.argument)  # it is stored until the user has agreed
    if argument != routed.argument:
        turn.before.append(UNREAD)
    asked = f"{spec.description.rstrip('.')}{f' ({cut(argument)})' if argument else ''}."
    return _ask(turn, spec, Confirmation(asked, argument))


def _ask(turn: Turn, spec: QuickActionSpec, asked: Confirmation) -> AgentTurnResult:
    turn.set_aside()
    return turn.asks(
        PendingQuestion(
            kind="confirm",
            text=f"{asked.text}\nSay yes to do it, or no.",
            form=YES_OR_NO,
            quick_action_id=spec.id,
            argument=asked.argument,
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
        what = f"do {uuid7()}"
        if (first := await turn.claim(what)) != what:
            return await taken(turn, pending, first)
        turn.runs(pending.run_id or "")
        await turn.save()  # so that it is told when this process dies: a handler leaves no record
        turn.told(pending.run_id or "")
        turn.state.pending = None
    return await do(turn, spec, pending.argument, agreed=True)


async def do(turn: Turn, spec: QuickActionSpec, argument: str, *, agreed: bool) -> AgentTurnResult:
    """Do a quick action; what its handler raises becomes a sentence."""
    parts, state = turn.parts, turn.state
    if parts.quick_actions.get_handler(spec.id) is None:
        return await _as_plan(turn, spec, argument)
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
    if isinstance(found, Confirmation):
        return _ask(turn, spec, found)
    return turn.says(
        "Done." if found is None else cut(found, LONGEST_ANSWER) if isinstance(found, str) else shown_value("", found)
    )


async def _as_plan(turn: Turn, spec: QuickActionSpec, argument: str) -> AgentTurnResult:
    """Run an action of the catalog as a plan of one step: what it lacks is asked, and it is shown, like any plan."""
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
    turn.set_aside()
    question = PendingQuestion(
        kind="plan",
        text="",
        form=input_form(plan, list(given), catalog),
        goal=spec.description,
        plan=plan,
        run_id=str(uuid7()),
        quick_action_id=spec.id if spec.requires_confirmation else None,
    )
    return await consider(turn, question.model_copy(update={"inputs": take(turn, question, given)}))


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
