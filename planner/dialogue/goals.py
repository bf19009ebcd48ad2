"""From a goal to its run: a plan is drafted, what it lacks is asked, it is shown where that is wanted, and run."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.utils.uuid import uuid7
from pydantic import SecretStr

from planner.catalog import to_plain
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.parts import YES_OR_NO, Turn
from planner.dialogue.running import run
from planner.dialogue.state import PendingQuestion
from planner.dialogue.turn import AgentTurnResult
from planner.dialogue.wording import plan_text, specs_of, value_text, why_no_plan, why_not_run
from planner.drafting import InputParser, PlanningContext
from planner.drafting.form import asks_for_a_secret, input_form, question_text
from planner.drafting.input_parser import plainly
from planner.errors import UnstorableOutput
from planner.execution.secrets import secrets_in
from planner.plan import CandidatePlan, PlanStep, validate
from planner.plan.bindings import escape, references_in
from planner.plan.difference import difference

HOW_TO_REPLY = "Say yes to run it, no to drop it, or say what to change."


async def plan_goal(turn: Turn, routed: RoutedIntent) -> AgentTurnResult:
    """Plan what a message asks for, and go on as far as that goes without the user."""
    context = await _context(turn, routed, turn.message)
    planned = turn.planned(await turn.planner.plan_with_context(context, on_event=turn.on_planning_event))
    if planned.plan is None:
        return turn.says(why_no_plan(planned, turn.parts.allowed(turn.state, context.flow_ids)))
    turn.state.last_flow_ids = None if context.flow_ids is None else list(context.flow_ids)
    question = PendingQuestion(
        kind="plan",
        text="",
        goal=context.goal,
        plan=planned.plan,
        run_id=str(uuid7()),
        flow_ids=turn.state.last_flow_ids,
        draft=planned.draft,
    )
    return await consider(turn, _with_inputs(turn, question, context.user_inputs))


async def consider(
    turn: Turn, pending: PendingQuestion, *, agreed: bool = False, changes: Sequence[str] = ()
) -> AgentTurnResult:
    """Ask what the plan lacks, show it where that is wanted, else run it."""
    parts, plan = turn.parts, pending.plan
    if plan is None:
        raise AssertionError("there is a plan to consider")
    catalog, inputs = parts.service.catalog, parts.inputs_of(pending)
    found = validate(
        plan,
        catalog,
        inputs,
        flow_ids=pending.flow_ids,
        identity=turn.state.identity,
        limits=parts.service.limits,
    )
    if found.has_structural_errors:
        turn.forget()
        return turn.says(why_not_run(found.issues), plan=plan, changes=changes)
    if found.missing_user_bindings:
        form = input_form(plan, list(found.missing_user_bindings), catalog)
        asked = {"kind": "inputs", "form": form, "text": question_text(form)}
        return turn.asks(pending.model_copy(update=asked), changes=changes)
    if not agreed and (pending.draft or changes or _is_shown(turn, plan)):
        said = [f"This is {'my guess at a plan' if pending.draft else 'the plan'}:", plan_text(plan, catalog, inputs)]
        shown = {"kind": "plan", "form": YES_OR_NO, "text": "\n".join([*said, HOW_TO_REPLY])}
        return turn.asks(pending.model_copy(update=shown), changes=changes)
    return await run(turn, pending)


def _is_shown(turn: Turn, plan: CandidatePlan) -> bool:
    review, service = turn.parts.review, turn.parts.service
    if review == "effects":
        return any(spec.policy.effect != "read" for spec in specs_of(plan, service.catalog))
    return review == "always"


async def change_plan(turn: Turn, pending: PendingQuestion, *, by_words: bool = True) -> AgentTurnResult:
    """Plan again as the user wants it, and show what is different; what was pending stays when that fails.

    `key = value` needs no model, and is tried first unless the change is told `by_words`.
    """
    plan, parts = pending.plan, turn.parts
    if plan is None:
        raise AssertionError("there is a plan to change")
    if not by_words or parts.service.llm is None:
        changed = await _change_values(turn, pending, plan)
        if changed is not None:
            return changed
    if parts.service.llm is None:
        names = list(dict.fromkeys([*keys_of(plan), *_literals(plan)]))
        known = f" I know: {', '.join(names)}." if names else ""
        turn.before.append(f"Without a language model a plan is changed by writing key = value.{known}")
        return turn.asks(pending)
    routed = RoutedIntent(mode="plan_and_execute", flow_ids=pending.flow_ids, goal=pending.goal)
    context = await _context(turn, routed, pending.goal)
    inputs = {**context.user_inputs, **parts.inputs_of(pending)}
    context = replace(context, goal=pending.goal, user_inputs=inputs, revises=plan, change=turn.message)
    planned = turn.planned(await turn.planner.plan_with_context(context, on_event=turn.on_planning_event))
    if planned.plan is None:
        turn.before.append(why_no_plan(planned, parts.allowed(turn.state, context.flow_ids)))
        turn.before.append("The plan is as it was.")
        return turn.asks(pending)
    return await _show_changes(turn, pending, planned.plan, inputs)


async def _show_changes(
    turn: Turn, pending: PendingQuestion, plan: CandidatePlan, inputs: Mapping[str, Any]
) -> AgentTurnResult:
    """Ask about the changed plan, which is another run."""
    known = turn.parts.inputs_of(pending)
    lines = [str(change) for change in difference(pending.plan, plan)] if pending.plan is not None else []
    lines += [
        f"{name} is now {value_text(inputs[name])} (was {value_text(known[name])})"
        for name in known
        if name in inputs and inputs[name] != known[name]
    ]
    if not lines:
        turn.before.append("That changes nothing in the plan.")
        return turn.asks(pending)
    guessed = pending.draft and turn.parts.service.llm is None
    changed = pending.model_copy(
        update={"plan": plan, "inputs": {}, "run_id": str(uuid7()), "draft": guessed, "form": {}, "text": ""}
    )
    changed = _with_inputs(turn, changed, inputs)
    turn.forget()
    turn.before.append("\n".join(["What changes:", *(f"- {line}" for line in lines)]))
    return await consider(turn, changed, changes=lines)


async def _change_values(turn: Turn, pending: PendingQuestion, plan: CandidatePlan) -> AgentTurnResult | None:
    """Set inputs that are written as `key = value`: of the user's, or those of a step; `None` when none is."""
    known, service = turn.parts.inputs_of(pending), turn.parts.service
    literal = _literals(plan)
    keys = list(dict.fromkeys([*keys_of(plan), *literal]))
    form = input_form(plan, keys_of(plan), service.catalog)
    found = plainly(turn.message, {key: [] for key in keys}, alone=False)
    if not found:
        return None
    parser = InputParser(None, service.catalog, service.limits)
    read = await parser.parse_message_for_fields(
        message=turn.message, missing_keys=list(found), schemas={**_slots(plan, turn), **properties_of(form)}
    )
    if read.errors or not read.values:
        turn.before.append("\n".join(["This does not fit:", *(f"- {error}" for error in read.errors)]))
        return turn.asks(pending)
    steps = [step.model_copy(update={"inputs": _set(step, literal, read.values)}) for step in plan.steps]
    secret = secret_keys(form)
    given = {key: veiled(value) if key in secret else value for key, value in read.values.items()}
    inputs = {**known, **{key: value for key, value in given.items() if key not in literal}}
    return await _show_changes(turn, pending, plan.model_copy(update={"steps": tuple(steps)}), inputs)


def _set(step: PlanStep, literal: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a step, with the values that are meant for it."""
    meant = {name: _escaped(values[name]) for name in values if literal.get(name) == step.id}
    return {**step.inputs, **meant}


def _escaped(value: Any) -> Any:
    return escape(value) if isinstance(value, str) else value


def _slots(plan: CandidatePlan, turn: Turn) -> dict[str, Any]:
    """Return what the inputs of the steps have to be."""
    return {slot.name: slot for spec in specs_of(plan, turn.parts.service.catalog) for slot in spec.inputs}


def properties_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of each key of a form, complete in itself."""
    shared = {"$defs": form["$defs"]} if "$defs" in form else {}
    return {key: {**node, **shared} for key, node in form.get("properties", {}).items()}


def secret_keys(form: Mapping[str, Any]) -> set[str]:
    """Return the keys of a form whose values are secret."""
    return {key for key, node in form.get("properties", {}).items() if asks_for_a_secret(node)}


def veiled(value: Any) -> Any:
    """Return a value with every text in it as a `SecretStr`, which no record, prompt or log shows."""
    match value:
        case str():
            return SecretStr(value)
        case Mapping():
            return {key: veiled(part) for key, part in cast("Mapping[str, Any]", value).items()}
        case list():
            return [veiled(part) for part in cast("list[Any]", value)]
        case _:
            return value


def keys_of(plan: CandidatePlan) -> list[str]:
    """Return the user keys that a plan binds."""
    shape = plan.to_dict()
    found = (one for _, one in references_in({"steps": shape["steps"], "outputs": plan.outputs}))
    return list(dict.fromkeys(str(one.path[0]) for one in found if one.root == "user" and one.path))


def _literals(plan: CandidatePlan) -> dict[str, str]:
    """Return the inputs that are plain values, and stand in one step only: name → step."""
    steps = [(name, step.id) for step in plan.steps for name in step.inputs]
    names = [name for name, _ in steps]
    plain = {name: step for name, step in steps if names.count(name) == 1}
    bound = {name for step in plan.steps for name, value in step.inputs.items() if any(references_in(value))}
    return {name: step for name, step in plain.items() if name not in bound and name not in keys_of(plan)}


def _with_inputs(turn: Turn, pending: PendingQuestion, inputs: Mapping[str, Any]) -> PendingQuestion:
    """Give a plan the inputs that it binds: plain ones are stored with it, all others live in this process."""
    plan = pending.plan
    keys = set(keys_of(plan)) if plan is not None else set[str]()
    plain: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for name, value in inputs.items():
        if name in keys:
            (plain if _is_plain(name, value) else held)[name] = value
    turn.parts.hold(pending.run_id or "", held)
    return pending.model_copy(update={"inputs": plain})


def _is_plain(name: str, value: Any) -> bool:
    if secrets_in({name: value}):
        return False
    try:
        return not to_plain(value).encoded
    except UnstorableOutput:
        return False


async def _context(turn: Turn, routed: RoutedIntent, message: str) -> PlanningContext:
    """Return the request for a plan, for the user of the session whatever a builder says."""
    built = turn.parts.context_builder.build(user_message=message, routed=routed, session_state=turn.state)
    context = await built if inspect.isawaitable(built) else built
    asked = turn.planner.caller.asked_by(turn.state.identity)
    excluded = (*context.exclude_actions, *asked["exclude_actions"])
    return replace(context, identity=turn.state.identity, exclude_actions=excluded)
