"""Answers to what was asked: read as values, checked against the form, and taken; what is missing is asked again."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import SecretStr

from planner.catalog import ActionCatalog, Slot, compile_schema, to_plain
from planner.dialogue.goals import change_plan, consider, keys_of, properties_of, secret_keys, veiled
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.parts import Turn
from planner.dialogue.running import answer_run, drop_run
from planner.dialogue.state import PendingQuestion
from planner.dialogue.turn import AgentTurnResult
from planner.drafting import InputParser, ParsedInputs
from planner.drafting.form import asks_for_a_secret, input_form
from planner.drafting.input_parser import plainly
from planner.drafting.signatures import slot_type
from planner.errors import UnstorableOutput, closest
from planner.execution.people import APPROVAL_SCHEMA

ANSWER = "answer"
"""The key under which an answer is read that is one value."""


def may_hold_secrets(pending: PendingQuestion | None, message: str, catalog: ActionCatalog) -> bool:
    """Tell whether the answer to what is pending may hold a secret."""
    if pending is None:
        return False
    if pending.kind != "plan" or pending.plan is None:
        return asks_for_a_secret(pending.form)
    secret = secret_keys(input_form(pending.plan, keys_of(pending.plan), catalog))
    return bool(plainly(message, {key: [] for key in secret}, alone=False))


async def answer_inputs(turn: Turn, pending: PendingQuestion, routed: RoutedIntent) -> AgentTurnResult:
    """Take the values that a message gives, and go on when there are all; or change the plan that lacks them."""
    if routed.reply == "change" and turn.values is None and not turn.confidential:
        return await change_plan(turn, pending)
    read = await read_inputs(turn, pending)
    updated = pending.model_copy(update={"inputs": {**pending.inputs, **take(turn, pending, read.values)}})
    if read.missing_keys:
        turn.before.append(_not_understood(read, filled_in=turn.values is not None))
    return await consider(turn, updated)


def take(turn: Turn, pending: PendingQuestion, values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep secret values in this process, and return the others."""
    secret = secret_keys(pending.form)
    hidden = {key: veiled(value) for key, value in values.items() if key in secret}
    turn.parts.hold(pending.run_id or "", hidden)
    return {key: value for key, value in values.items() if key not in secret}


async def read_inputs(turn: Turn, pending: PendingQuestion) -> ParsedInputs:
    """Read the values that are asked for: from the form that was filled in, or from the words of a message."""
    schemas = properties_of(pending.form)
    if turn.values is not None:
        return check_values(turn.values, schemas, turn.parts.service.limits.literal_bytes)
    corrected = _corrected(turn, pending)
    read = await _read(turn, {**schemas, **corrected}, pending)
    read.missing_keys -= corrected.keys()
    return read


def _corrected(turn: Turn, pending: PendingQuestion) -> dict[str, Any]:
    """Return the schemas of values that are there already, and that a message gives anew as `key = value`."""
    if pending.plan is None:
        return {}
    again = plainly(turn.message, {key: [] for key in pending.inputs}, alone=False)
    return properties_of(input_form(pending.plan, list(again), turn.parts.service.catalog))


async def _read(turn: Turn, schemas: Mapping[str, Any], pending: PendingQuestion) -> ParsedInputs:
    """Read a message: plainly where it may hold secrets or is plainly the one value, else with the model."""
    asked: Any = {"message": turn.message, "missing_keys": list(schemas), "schemas": schemas}
    if turn.confidential or _is_narrow(schemas):
        read = await _plain(turn).parse_message_for_fields(**asked)
        if turn.confidential or not read.missing_keys:
            return read
    read = await turn.planner.parse_inputs(**asked, plan=pending.plan if pending.kind == "inputs" else None)
    turn.usage += read.usage
    return read


def _is_narrow(schemas: Mapping[str, Any]) -> bool:
    """Tell whether one value is asked for that not just any text is."""
    if len(schemas) != 1:
        return False
    (schema,) = schemas.values()
    return "enum" in schema or "format" in schema or schema.get("type") in ("integer", "number", "boolean")


def check_values(values: Any, schemas: Mapping[str, Any], most: int) -> ParsedInputs:
    """Check a form that was filled in; each error names its field, and none repeats a value; `most` bytes each."""
    read = ParsedInputs(missing_keys=set(schemas))
    if not isinstance(values, Mapping):
        read.errors.append(f"the values are an object with the fields {', '.join(schemas)}")
        return read
    for key, value in cast("Mapping[str, Any]", values).items():
        if key not in schemas:
            read.errors.append(f"{key}: this is not asked for; closest: {closest(str(key), list(schemas))}")
        elif fault := _misfit(key, value, schemas[key], most):
            read.errors.append(f"{key}: {fault}")
        else:
            read.values[key] = value
            read.resolved_keys.add(key)
            read.missing_keys.discard(key)
    return read


def _misfit(key: str, value: Any, schema: Mapping[str, Any], most: int) -> str:
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    try:
        if (size := to_plain(plain).size) > most:
            return f"the value is about {size:,} bytes, more than the {most:,} of 'literal_bytes'"
        fault = next(iter(compile_schema(schema).iter_errors(plain)), None)
    except (ValueError, TypeError, RecursionError, UnstorableOutput):
        return "the value is no JSON"
    if fault is None:
        return ""
    place = "".join(f"[{part!r}]" for part in fault.instance_path)
    return f"its part {place} does not fit" if place else f"the value is not {slot_type(Slot(key, schema))}"


def _not_understood(read: ParsedInputs, *, filled_in: bool) -> str:
    lines = list(dict.fromkeys(error[:300] for error in read.errors))[:5]
    if not lines:
        return "" if read.resolved_keys else "I did not find what I asked for in that."
    what = "This does not fit" if filled_in or read.resolved_keys else "I did not understand that"
    return "\n".join([f"{what}:", *(f"- {line}" for line in lines)])


def _plain(turn: Turn) -> InputParser:
    """Return what reads a message without a model."""
    return InputParser(None, turn.parts.service.catalog, turn.parts.service.limits)


# ------------------------------------------------------------------------------------------------------------- others


def reply_of(values: Any) -> bool | None:
    """Return what the form of a question says that is agreed to or not; `None` when it says neither."""
    match values:
        case bool():
            return values
        case {"approve": bool(agreed)}:
            return agreed
        case _:
            return None


async def answer_plan(turn: Turn, pending: PendingQuestion, routed: RoutedIntent) -> AgentTurnResult:
    """Run the plan that was shown, drop it, or change it."""
    if turn.values is not None:
        turn.before.append("That is neither true nor false.")
        return turn.asks(pending)
    if routed.reply == "approve":
        return await consider(turn, pending, agreed=True)
    return await change_plan(turn, pending, by_words=routed.reply != "values")


async def answer_question(turn: Turn, pending: PendingQuestion, routed: RoutedIntent) -> AgentTurnResult:
    """Answer what a run asks a person."""
    if pending.form == APPROVAL_SCHEMA and turn.values is None:
        if routed.reply not in ("approve", "drop"):
            turn.before.append("Please say yes or no.")
            return turn.asks(pending)
        said = {"approve": routed.reply == "approve", "reason": "" if routed.reply == "approve" else turn.message}
        return await answer_run(turn, pending, said)
    if turn.values is not None:
        return await answer_run(turn, pending, turn.values)
    if routed.reply in ("approve", "drop") and pending.form.get("type") == "boolean":
        return await answer_run(turn, pending, routed.reply == "approve")
    if routed.reply == "drop":
        return await drop_run(turn, pending)
    return await answer_run(turn, pending, await _read_answer(turn, pending))


async def _read_answer(turn: Turn, pending: PendingQuestion) -> Any:
    """Read a message as what the question asks for; what cannot be read is given as it stands, and refused."""
    form: Mapping[str, Any] = pending.form
    if not form:
        return turn.message
    if not form.get("properties"):
        return (await _read(turn, {ANSWER: form}, pending)).values.get(ANSWER, turn.message)
    schemas = properties_of(form)
    required = {key: schemas[key] for key in schemas if key in form.get("required", ())}
    if _is_narrow(required):
        read = await _plain(turn).parse_message_for_fields(
            message=turn.message, missing_keys=list(required), schemas=required
        )
        if read.values:
            return read.values
    return (await _read(turn, schemas, pending)).values
