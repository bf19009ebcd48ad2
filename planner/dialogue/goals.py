"""From a goal to its run: a plan is drafted, what it lacks is asked, it is shown where that is wanted, and run."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from langchain_core.utils.uuid import uuid7
from pydantic import SecretStr

from planner.catalog import ActionCatalog, to_plain
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.parts import YES_OR_NO, NoContext
from planner.dialogue.review import plan_digest, plan_text, spec_of, specs_of
from planner.dialogue.running import run
from planner.dialogue.state import PendingQuestion
from planner.dialogue.stored import is_confidential
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.dialogue.wording import no_value_fits, not_here, shown_value, why_no_plan, why_not_run
from planner.drafting import InputParser, ParsedInputs, PlanningContext
from planner.drafting.confidential import MASK, is_secret_name, redacted
from planner.drafting.form import asks_for_a_secret, input_form, question_text, unfillable
from planner.drafting.input_parser import plainly
from planner.errors import PlannerError, UnstorableOutput
from planner.execution.secrets import secrets_in
from planner.plan import CandidatePlan, PlanStep, Reference, parse_text, resolve_step, validate
from planner.plan.bindings import escape, references_in
from planner.plan.difference import Change, difference

GOAL_CHARS = 200
"""Of a goal, in a run's record."""
HOW_TO_REPLY = "Say yes to run it, no to drop it, or say what to change."


async def plan_goal(turn: Turn, routed: RoutedIntent) -> AgentTurnResult:
    """Plan what a message asks for, and go on as far as that goes without the user."""
    context = await _context(turn, routed, turn.message)
    planned = turn.planned(await turn.planner.plan_with_context(context, on_event=turn.on_planning_event))
    if planned.plan is None:
        return turn.says(why_no_plan(planned, turn.parts.allowed(turn.state, context.flow_ids)))
    turn.set_aside()
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
    plan, given = planned.plan, dict(context.user_inputs)
    if planned.draft:  # a guess from words does not read the values that stand among them
        _, plan, assigned = await _assigned(turn, plan)
        given |= assigned
    plan, secrets = without_secrets(plan, turn.parts.service.catalog)
    question = question.model_copy(update={"plan": _with_goal(plan, context.goal)})
    return await consider(turn, _with_inputs(turn, question, {**given, **secrets}))


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
        before = turn.state.pending
        if before is not None and before.plan == plan and (lacking := not_here(found.issues)):
            return turn.says(lacking, plan=plan, question=before)
        turn.forget()
        return turn.says(why_not_run(found.issues), plan=plan, changes=changes)
    if found.missing_user_bindings:
        form = input_form(plan, list(found.missing_user_bindings), catalog)
        if never := unfillable(form):
            turn.forget()
            return turn.says(no_value_fits(never), plan=plan, changes=changes)
        asked = {"kind": "inputs", "form": form, "text": question_text(form)}
        return turn.asks(pending.model_copy(update=asked), changes=changes)
    values = turn.state.values
    earlier = {name for name in inputs if name in values and values[name] == inputs[name]}
    digest = plan_digest(plan, catalog, inputs)
    begin = _changed_since(turn, pending, digest) if agreed else ""
    if begin or (not agreed and (changes or _is_shown(turn, pending, plan))):
        begin = begin or f"This is {'my guess at a plan' if pending.draft else 'the plan'}:"
        text = "\n".join([begin, plan_text(plan, catalog, inputs, earlier), HOW_TO_REPLY])
        shown = {"kind": "plan", "form": YES_OR_NO, "text": text, "shown": digest}
        return turn.asks(pending.model_copy(update=shown), changes=changes)
    if not agreed and earlier:
        told = (f"{name}: {shown_value(name, inputs[name])}" for name in inputs if name in earlier)
        turn.before.append(f"Taken from an earlier run: {'; '.join(told)}.")
    return await run(turn, pending)


def _changed_since(turn: Turn, pending: PendingQuestion, digest: str) -> str:
    """Say why a plan that is agreed to is shown once more; `""` when it is what its user saw a while ago at most."""
    if pending.shown != digest:
        return "This has changed since I showed it:" if pending.shown else "This is the plan:"
    seen = pending.asked_at
    return "It has been a while:" if seen is not None and datetime.now(UTC) - seen > turn.parts.stale_after else ""


def _is_shown(turn: Turn, pending: PendingQuestion, plan: CandidatePlan) -> bool:
    """Tell whether a plan is shown before it runs: a guess, and a quick action that wants to be agreed to, always."""
    review, service = turn.parts.review, turn.parts.service
    if pending.draft or pending.quick_action_id is not None or review == "always":
        return True
    return review == "effects" and any(spec.policy.effect != "read" for spec in specs_of(plan, service.catalog))


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
        names = list(dict.fromkeys([*keys_of(plan), *_literals(plan, parts.service.catalog)]))
        known = f" I know: {', '.join(names)}." if names else ""
        turn.before.append(
            f"Without a language model a plan is changed by writing key = value.{known} "
            "Say no to drop it, or /plan GOAL for something else."
        )
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
    known, catalog = turn.parts.inputs_of(pending), turn.parts.service.catalog
    plan, secrets = without_secrets(_with_goal(plan, pending.goal), catalog)
    inputs = {**inputs, **secrets}
    changes = difference(pending.plan, plan) if pending.plan is not None else []
    changes += [
        Change(kind="changed", step_id="", field=f"inputs.{name}", before=known[name], after=inputs[name])
        for name in known
        if name in inputs and inputs[name] != known[name]
    ]
    slots = _slots(plan, turn)
    lines = [
        change.told(
            lambda name, value: shown_value(name, value, slots[name].schema if name in slots else None), redacted
        )
        for change in changes
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
    read, changed, given = await _assigned(turn, plan)
    if read.errors:
        turn.before.append("\n".join(["This does not fit:", *(f"- {error}" for error in read.errors)]))
        return turn.asks(pending)
    if not read.values:
        return None
    return await _show_changes(turn, pending, changed, {**turn.parts.inputs_of(pending), **given})


async def _assigned(turn: Turn, plan: CandidatePlan) -> tuple[ParsedInputs, CandidatePlan, dict[str, Any]]:
    """Read `key = value` in a message; return also the plan with what its steps are given, and what it is given."""
    catalog, literal = turn.parts.service.catalog, _literals(plan, turn.parts.service.catalog)
    form = input_form(plan, keys_of(plan), catalog)
    asked = dict.fromkeys([*keys_of(plan), *literal], ())
    found = {key: value for key, value in plainly(turn.message, asked, alone=False).items() if MASK not in str(value)}
    read = await InputParser(None, catalog, turn.parts.service.limits).parse_message_for_fields(
        message=turn.message, missing_keys=list(found), schemas={**_slots(plan, turn), **properties_of(form)}
    )
    steps = tuple(step.model_copy(update={"inputs": _set(step, literal, read.values)}) for step in plan.steps)
    secret = secret_keys(form)
    given = {key: veiled(value) if key in secret else value for key, value in read.values.items() if key not in literal}
    return read, plan.model_copy(update={"steps": steps}), given


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


def without_secrets(plan: CandidatePlan, catalog: ActionCatalog) -> tuple[CandidatePlan, dict[str, Any]]:
    """Return the plan with a user key in place of each secret that stands in it, and the secrets by those keys."""
    taken, secrets, steps = set(keys_of(plan)), dict[str, Any](), list[PlanStep]()
    for step in plan.steps:
        try:
            slots = {slot.name: slot.schema for slot in resolve_step(step, catalog).inputs}
        except (PlannerError, ValueError):
            slots = {}
        inputs = dict(step.inputs)
        for name, value in step.inputs.items():
            secret = is_secret_name(name) or asks_for_a_secret(slots.get(name))
            if value is None or not secret or any(references_in(value)):
                continue
            key = name if name not in taken else f"{step.id}_{name}"
            taken.add(key)
            secrets[key] = _hidden(parse_text(value) if isinstance(value, str) else value)
            inputs[name] = str(Reference("user", (key,)))
        steps.append(step.model_copy(update={"inputs": inputs}))
    return (plan.model_copy(update={"steps": tuple(steps)}) if secrets else plan), secrets


def _hidden(value: Any) -> Any:
    """Veil a secret; of an object with fields that are secret by name, those: a user's name may stand anywhere."""
    if not isinstance(value, Mapping):
        return veiled(value)
    parts = cast("Mapping[str, Any]", value)
    secret = [key for key in parts if is_secret_name(key)] or list(parts)
    return {key: veiled(part) if key in secret else part for key, part in parts.items()}


def keys_of(plan: CandidatePlan) -> list[str]:
    """Return the user keys that a plan binds."""
    shape = plan.to_dict()
    found = (one for _, one in references_in({"steps": shape["steps"], "outputs": plan.outputs}))
    return list(dict.fromkeys(str(one.path[0]) for one in found if one.root == "user" and one.path))


def _literals(plan: CandidatePlan, catalog: ActionCatalog) -> dict[str, str]:
    """Return the inputs that are plain values, or could be given, in one step only: name → step."""
    steps = [(name, step.id) for step in plan.steps for name in step.inputs]
    used = {name for name, _ in steps}
    steps += [(name, step.id) for step in plan.steps for name in _takes(step, catalog) if name not in used]
    names = [name for name, _ in steps]
    plain = {name: step for name, step in steps if names.count(name) == 1}
    bound = {name for step in plan.steps for name, value in step.inputs.items() if any(references_in(value))}
    return {name: step for name, step in plain.items() if name not in bound and name not in keys_of(plan)}


def _takes(step: PlanStep, catalog: ActionCatalog) -> list[str]:
    spec = spec_of(step, catalog)
    return [] if spec is None else [slot.name for slot in spec.inputs]


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
        plain = to_plain(value)
        return not plain.encoded and not is_confidential(name, plain.value)
    except UnstorableOutput:
        return False


def _with_goal(plan: CandidatePlan, goal: str) -> CandidatePlan:
    """Give a plan the goal that it was made for, under which its run is found and remembered."""
    told = redacted(" ".join(goal[: 2 * GOAL_CHARS].split()))[:GOAL_CHARS]
    return plan if plan.goal or not told else plan.model_copy(update={"goal": told})


async def _context(turn: Turn, routed: RoutedIntent, message: str) -> PlanningContext:
    """Return the request for a plan, for the user of the session whatever a builder says."""
    try:
        built = turn.parts.context_builder.build(user_message=message, routed=routed, session_state=turn.state)
        context = await built if inspect.isawaitable(built) else built
    except Exception as error:  # a builder of the application may raise anything
        raise NoContext(f"{type(error).__name__}: {error}") from error
    if not isinstance(context, PlanningContext):  # pyright: ignore[reportUnnecessaryIsInstance]  # nor are all typed
        raise NoContext(f"the context builder returned a {type(context).__name__}, not a PlanningContext")
    asked = turn.planner.caller.asked_by(turn.state.identity)
    excluded = (*context.exclude_actions, *asked["exclude_actions"])
    return replace(context, identity=turn.state.identity, exclude_actions=excluded)
