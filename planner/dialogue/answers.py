"""Answers to what was asked: read as values, checked against the form, and taken; what is missing is asked again."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import SecretStr

from planner.catalog import ActionCatalog, ActionSpec, compile_schema, to_plain
from planner.dialogue.goals import change_plan, consider, keys_of, properties_of, secret_keys, veiled
from planner.dialogue.intents import RoutedIntent
from planner.dialogue.quick_actions import BUILT_IN, QuickActionSpec
from planner.dialogue.review import specs_of
from planner.dialogue.rules import ANSWER, command_of
from planner.dialogue.running import answer_run, drop_run
from planner.dialogue.state import PendingQuestion
from planner.dialogue.stored import is_confidential
from planner.dialogue.turn import AgentTurnResult, Turn
from planner.drafting import InputParser, ParsedInputs
from planner.drafting.confidential import is_secret_name, redacted
from planner.drafting.form import asks_for_a_secret, input_form, kind_text
from planner.drafting.input_parser import plainly
from planner.errors import PlannerError, UnstorableOutput, closest
from planner.execution.people import APPROVAL_SCHEMA

WITHHELD = "(values given)"
"""Stands in the conversation for what may hold secrets."""

UNREAD = (
    "I did not read the secret in that, and I keep none that is written in a sentence: I ask for it when it is needed."
)

NAMED = 3
"""Keys, of those that are asked for, when it is said how to write them."""


def withhold(turn: Turn) -> str:
    """Keep secrets out of what is stored, routed and told to a model; return what may be stored of the message.

    An answer that may hold one, or what stands behind the command of a quick action, is read plainly and by nobody
    else. Of any other message the secrets are taken out, and the user is told so.
    """
    pending, message = turn.state.pending, turn.message
    if not message:
        return WITHHELD
    told, (name, argument) = redacted(message), command_of(message)
    action = turn.parts.quick_actions.called(name)
    is_command = action is not None or name in BUILT_IN
    if not is_command and may_hold_secrets(pending, message, turn.parts.service.catalog):
        turn.confidential = True
        return WITHHELD
    if action is not None and argument and (told != message or _takes_secrets(turn, action)):
        turn.confidential = True
        return f"/{name} {WITHHELD}"
    if told != message:
        turn.message = told
        turn.before.append(UNREAD)
    return told


def may_hold_secrets(pending: PendingQuestion | None, message: str, catalog: ActionCatalog) -> bool:
    """Tell whether the answer to what is pending may hold a secret."""
    if pending is None:
        return False
    if pending.kind in ("inputs", "run"):
        return asks_for_a_secret(pending.form) or redacted(message) != message
    if pending.plan is None:
        return False
    secret = secret_keys(input_form(pending.plan, keys_of(pending.plan), catalog))
    secret |= {name for spec in specs_of(pending.plan, catalog) for name in _secrets_of(spec)}
    return bool(plainly(message, {key: [] for key in secret}, alone=False))


def _takes_secrets(turn: Turn, action: QuickActionSpec) -> bool:
    """Tell whether the action of the catalog that a quick action does has an input for a secret."""
    catalog, named = turn.parts.service.catalog, action.action_ref or ""
    try:
        spec = catalog.get_action_by_name(named) or catalog.get_action(named)
    except PlannerError:
        return False
    return bool(_secrets_of(spec))


def _secrets_of(spec: ActionSpec) -> list[str]:
    return [slot.name for slot in spec.inputs if is_secret_name(slot.name) or asks_for_a_secret(slot.schema)]


async def answer_inputs(turn: Turn, pending: PendingQuestion, routed: RoutedIntent) -> AgentTurnResult:
    """Take the values that a message gives, and go on when there are all; or change the plan that lacks them."""
    if routed.reply == "change" and turn.values is None and not turn.confidential:
        return await change_plan(turn, pending)
    if routed.reply == "approve" and turn.values is None:
        turn.before.append(f"There is nothing to agree to yet. {_how_to_answer(pending)}")
        return turn.asks(pending)
    read = await read_inputs(turn, pending)
    updated = pending.model_copy(
        update={
            "inputs": {**pending.inputs, **take(turn, pending, read.values)},
            "draft": pending.draft or _was_guessed(turn, read),
        }
    )
    if read.missing_keys:
        turn.before.append(_not_understood(turn, pending, read))
    return await consider(turn, updated)


def take(turn: Turn, pending: PendingQuestion, values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep secret values in this process, and return the others."""
    secret = secret_keys(pending.form) | {key for key, value in values.items() if is_confidential(key, value)}
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
    """Read a message: plainly where it may hold secrets or is plainly the one value, else with the model.

    What a run lets its user choose, such as a yes or no, is never read by a model.
    """
    asked: Any = {"message": turn.message, "missing_keys": list(schemas), "schemas": schemas}
    if pending.kind == "inputs" and turn.confidential and _is_a_sentence(turn.message, schemas):
        return ParsedInputs(missing_keys=set(schemas))
    plain = pending.kind == "run" and (any(map(_is_choice, schemas.values())) or _is_written(turn.message, schemas))
    if turn.confidential or plain or _is_narrow(schemas):
        read = await _plain(turn).parse_message_for_fields(**asked)
        if turn.confidential or plain or not read.missing_keys:
            return read
    read = await turn.planner.parse_inputs(**asked, plan=pending.plan if pending.kind == "inputs" else None)
    turn.usage += read.usage
    return read


def _is_a_sentence(message: str, schemas: Mapping[str, Any]) -> bool:
    """Tell whether a message of several words would be taken for the one text that is asked for, without its key."""
    if len(schemas) != 1 or len(message.split()) == 1 or message.startswith(("-----BEGIN ", "{", "[")):
        return False
    ((key, schema),) = schemas.items()
    return schema.get("type", "string") == "string" and not plainly(message, {key: []}, alone=False)


def _is_written(message: str, schemas: Mapping[str, Any]) -> bool:
    """Tell whether a message gives all that is asked for as `key: value`."""
    return plainly(message, {key: [] for key in schemas}, alone=False).keys() == schemas.keys()


def _is_choice(schema: Any) -> bool:
    """Tell whether a value is chosen, or a part of it: true or false, or one of a list."""
    match schema:
        case {"enum": _} | {"const": _} | {"type": "boolean"}:
            return True
        case Mapping():
            return any(map(_is_choice, cast("Mapping[str, Any]", schema).values()))
        case list():
            return any(map(_is_choice, cast("list[Any]", schema)))
        case _:
            return False


def _was_guessed(turn: Turn, read: ParsedInputs) -> bool:
    """Tell whether a model read a text or a yes or no that does not stand in the message."""
    return bool(read.usage.calls) and not all(_stands_in(turn.message.casefold(), one) for one in read.values.values())


def _stands_in(message: str, value: Any) -> bool:
    match value:
        case bool():
            return False
        case str():
            return value.casefold() in message
        case Mapping():
            return all(_stands_in(message, part) for part in cast("Mapping[str, Any]", value).values())
        case list():
            return all(_stands_in(message, part) for part in cast("list[Any]", value))
        case _:
            return True  # people write numbers in many ways


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
        elif fault := _misfit(value, schemas[key], most):
            read.errors.append(f"{key}: {fault}")
        else:
            read.values[key] = value
            read.resolved_keys.add(key)
            read.missing_keys.discard(key)
    return read


def _misfit(value: Any, schema: Mapping[str, Any], most: int) -> str:
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    try:
        if (size := to_plain(plain).size) > most:
            return f"the value is about {size:,} bytes, more than the {most:,} of 'literal_bytes'"
        fault = next(iter(compile_schema(schema).iter_errors(plain)), None)
    except (ValueError, TypeError, RecursionError, UnstorableOutput):
        return "the value is no JSON"
    if fault is None:
        return ""
    if place := "".join(f"[{part!r}]" for part in fault.instance_path):
        return f"its part {place} does not fit"
    return f"the value is not {kind_text(schema)}"


def _not_understood(turn: Turn, pending: PendingQuestion, read: ParsedInputs) -> str:
    lines = list(dict.fromkeys(error[:300] for error in read.errors))[:5]
    if not lines:
        return "" if read.resolved_keys else f"I did not find what I asked for in that. {_how_to_answer(pending)}"
    what = "This does not fit" if turn.values is not None or read.resolved_keys else "I did not understand that"
    return "\n".join([f"{what}:", *(f"- {line}" for line in lines)])


def _how_to_answer(pending: PendingQuestion) -> str:
    """Say how the values are written that are asked for, and how to get away from the question."""
    asked = ", ".join(f"{key}: …" for key in list(properties_of(pending.form))[:NAMED])
    return f"Write {asked}; /drop lets go of the plan, and /plan GOAL begins something else."


def _plain(turn: Turn) -> InputParser:
    """Return what reads a message without a model."""
    return InputParser(None, turn.parts.service.catalog, turn.parts.service.limits)


# ------------------------------------------------------------------------------------------------------------- others


def reply_of(values: Any) -> bool | None:
    """Return what the form of a question says that is agreed to or not; `None` when it says neither."""
    match values:
        case bool():
            return values
        case {"approve": bool(agreed), **more} if not more:  # what else is filled in wants more than a yes or no
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
    asked = properties_of(pending.form) or {ANSWER: pending.form}
    if turn.confidential and asks_for_a_secret(asked) and _is_a_sentence(turn.message, asked):
        turn.before.append(f"I did not take that for the answer. Write {next(iter(asked))}: …; /drop stops the run.")
        return turn.asks(pending)
    return await answer_run(turn, pending, await _read_answer(turn, pending))


async def _read_answer(turn: Turn, pending: PendingQuestion) -> Any:
    """Read a message as what the question asks for; what cannot be read is given as it stands, and refused."""
    form: Mapping[str, Any] = pending.form
    if not form:
        return plainly(turn.message, {ANSWER: []}, alone=False).get(ANSWER, turn.message)
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
