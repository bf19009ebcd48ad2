"""What a run asks people, as plain values: how a question is written and read, who may answer it, and with what.

A question is the value of a LangGraph interrupt. It holds everything about itself, so that any process can read it from
the checkpoint and check an answer without the catalog; times are absolute, so that they do not move when it is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

import pydantic_core
from pydantic import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from planner.catalog import MISSING, JsonSchema, Slot, compile_schema, conform, to_plain
from planner.catalog.spec import Ask
from planner.context import RequestIdentity
from planner.errors import (
    AnswerTimeout,
    BindingError,
    InvalidAnswer,
    NotEntitled,
    UnknownQuestion,
    UnstorableOutput,
)
from planner.execution.outcome import PendingInterrupt, QuestionKind
from planner.execution.secrets import MASK, redact, secrets_in

VERSION = 1
LONGEST_TEXT = 300
MOST_PARTS = 10
DEEPEST = 4
"""What of a value is shown to a person who only has to recognise it."""

NOBODY_ANSWERED: Mapping[str, Any] = {"v": VERSION, "kind": "nobody-answered"}
"""Stands for an answer after the deadline, when nothing was said to count instead."""

APPROVAL_SCHEMA: JsonSchema = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {"approve": {"type": "boolean"}, "reason": {"type": "string"}},
            "required": ["approve"],
            "additionalProperties": False,
        },
    ]
}


def question_value(
    kind: QuestionKind,
    step_id: str,
    message: str,
    *,
    schema: JsonSchema | None = None,
    roles: Sequence[str] = (),
    deadline: datetime | None = None,
    on_timeout: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is given to `interrupt`: JSON-like, with `about` what the question is about."""
    return {
        "v": VERSION,
        "kind": kind,
        "step_id": step_id,
        "message": message,
        "schema": None if schema is None else dict(schema),
        "roles": list(roles),
        "deadline": None if deadline is None else deadline.astimezone(UTC).isoformat(),
        "on_timeout": None if on_timeout is None else dict(on_timeout),
        **(about or {}),
    }


def read_question(id: str, value: Any, step_id: str = "") -> PendingInterrupt:  # noqa: A002 - LangGraph's name
    """Return the question of an interrupt; one that is not written as ours is a flow's own.

    Args:
        id: The interrupt's, under which it is answered.
        value: What was given to `interrupt`.
        step_id: Of the step that asks, where the value does not say it.
    """
    entries = cast("Mapping[str, Any]", value if isinstance(value, Mapping) else {})
    if entries.get("v") != VERSION or entries.get("kind") not in get_args(QuestionKind) or "step_id" not in entries:
        return PendingInterrupt(id=id, step_id=step_id, value=value)
    deadline = entries["deadline"]
    return PendingInterrupt(
        id=id,
        step_id=entries["step_id"],
        value=value,
        kind=entries["kind"],
        message=entries["message"],
        schema=entries["schema"],
        roles=tuple(entries["roles"]),
        deadline=None if deadline is None else datetime.fromisoformat(deadline),
        on_timeout=entries["on_timeout"],
    )


def ask_value(question: Ask, step_id: str, now: datetime) -> dict[str, Any]:
    """Return the value of an action's question.

    Raises:
        InvalidAnswer: the default is none.
        TypeError: the schema is neither a JSON Schema nor a type that has one.
    """
    schema, on_timeout = schema_of(question.schema), None
    if question.default is not MISSING:
        default = pydantic_core.to_jsonable_python(question.default)
        fit(step_id, schema, default, "its default")
        on_timeout = {"answer": default}
    deadline = None if question.deadline is None else now + question.deadline
    return question_value(
        "question",
        step_id,
        question.message,
        schema=schema,
        roles=question.roles,
        deadline=deadline,
        on_timeout=on_timeout,
    )


def schema_of(wanted: Any) -> JsonSchema | None:
    """Return the JSON Schema that an action means with what it gives `ask`.

    Raises:
        TypeError: it is none, and no type that has one.
    """
    if wanted is None:
        return None
    try:
        schema = cast("JsonSchema", wanted if isinstance(wanted, Mapping) else TypeAdapter(wanted).json_schema())
        compile_schema(schema)
    except (PydanticUserError, PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, ValueError) as error:
        raise TypeError(f"a question's schema is a JSON Schema or a type that has one, not {wanted!r}") from error
    return schema


def unknown_schema(returns: Slot | None) -> JsonSchema:
    """Return what a decision about a step that was in flight has to be; `returns` is what the action gives."""
    declared = dict(returns.schema) if returns is not None else {}
    shared = {key: declared.pop(key) for key in ("$defs",) if key in declared}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "decision": {"enum": ["retry", "succeeded", "failed"]},
            "value": declared,
            "error": {"type": "string"},
        },
        "required": ["decision"],
        "additionalProperties": False,
        **shared,
    }
    if declared and not compile_schema({**declared, **shared}).is_valid(None):
        schema["if"] = {"properties": {"decision": {"const": "succeeded"}}}
        schema["then"] = {"required": ["value"]}
    return schema


def check_answer(question: PendingInterrupt, value: Any) -> Any:
    """Return the answer as it is stored: plain data; for an approval always with `approve` and `reason`.

    Raises:
        InvalidAnswer: it does not fit; the message names what does not.
    """
    try:
        plain = to_plain(value).value
    except UnstorableOutput as error:
        raise InvalidAnswer(question.id, str(error)) from error
    if plain == NOBODY_ANSWERED:
        raise InvalidAnswer(question.id, "only the deadline says that nobody answered")
    try:
        fit(question.id, question.schema, plain, "value")
    except InvalidAnswer as error:
        if question.kind != "approval":
            raise
        forms = 'an approval is True, False, or {"approve": …, "reason": …}'
        raise InvalidAnswer(question.id, forms) from error
    return verdict(plain) if question.kind == "approval" else plain


def check_answers(
    questions: Iterable[PendingInterrupt], answers: Mapping[str, Any], owner: RequestIdentity, most: int
) -> dict[str, Any]:
    """Return what the owner of a run answers, by question, as it is stored.

    Args:
        questions: What the run has asked, answered or not.
        answers: By question.
        owner: Who answers. That the run is theirs is no role that a question may ask for.
        most: Bytes of one answer.

    Raises:
        UnknownQuestion: nobody asked; LangGraph would take such an answer for that of any question.
        NotEntitled: somebody else has to answer.
        InvalidAnswer: it is not what was asked for.
    """
    known = {one.id: one for one in questions}
    checked: dict[str, Any] = {}
    for name, value in answers.items():
        if name not in known:
            raise UnknownQuestion(name, sorted(known))
        if not may_answer(known[name], owner, owner):
            raise NotEntitled(name, known[name].roles)
        checked[name] = check_answer(known[name], value)
        if (size := to_plain(checked[name]).size) > most:
            raise InvalidAnswer(name, f"it is about {size:,} bytes, more than the {most:,} of 'literal_bytes'")
    return checked


def fit(place: str, schema: JsonSchema | None, value: Any, what: str) -> None:
    """Make sure that `value` is what `schema` asks for.

    Raises:
        InvalidAnswer: it is not.
    """
    if schema is None:
        return
    try:
        faults = list(compile_schema(schema).iter_errors(pydantic_core.to_jsonable_python(value)))
    except (ValueError, TypeError) as error:
        raise InvalidAnswer(place, f"{what} cannot be written as JSON") from error
    if faults:
        told = "; ".join(
            f"{'.'.join(map(str, fault.instance_path)) or what}: {_shortened(fault.message)}" for fault in faults[:5]
        )
        raise InvalidAnswer(place, told)


def verdict(answer: Any) -> dict[str, Any]:
    """Return an approval's answer in its long form."""
    if isinstance(answer, Mapping):
        given = cast("Mapping[str, Any]", answer)
        return {"approve": given.get("approve") is True, "reason": str(given.get("reason") or "")}
    return {"approve": answer is True, "reason": ""}


def read_answer(question: Ask, step_id: str, answer: Any) -> Any:
    """Return the answer to an action's question, of the type that it asked for.

    Raises:
        AnswerTimeout: nobody answered, and there is no default.
        InvalidAnswer: it does not fit; answers that were checked do.
    """
    if answer == NOBODY_ANSWERED:
        raise AnswerTimeout(f"nobody answered in time: {question.message}")
    if question.schema is None:
        return answer
    wanted: Any = question.schema
    if isinstance(wanted, Mapping):
        fit(step_id, cast("JsonSchema", wanted), answer, "it")
        return answer
    try:
        return conform(TypeAdapter(wanted), answer, "the answer")
    except BindingError as error:
        raise InvalidAnswer(step_id, str(error)) from error


def may_answer(question: PendingInterrupt, identity: RequestIdentity, owner: RequestIdentity) -> bool:
    """Tell whether `identity` may answer a question of a run that is `owner`'s."""
    if identity.org_id != owner.org_id:
        return False
    if question.roles:
        return not set(question.roles).isdisjoint(identity.roles)
    return identity.user_id == owner.user_id


def expired(questions: Iterable[PendingInterrupt], now: datetime) -> Mapping[str, Any]:
    """Return, by id, what counts as the answer to each question whose deadline has passed."""
    return {
        one.id: NOBODY_ANSWERED if one.on_timeout is None else one.on_timeout["answer"]
        for one in questions
        if one.deadline is not None and one.deadline <= now
    }


def next_deadline(questions: Iterable[PendingInterrupt]) -> datetime | None:
    """Return when the first of `questions` passes its deadline, or `None`."""
    return min((one.deadline for one in questions if one.deadline is not None), default=None)


def shown(value: Any, secrets: Mapping[str, str], depth: int = 0) -> Any:
    """Return `value` as a person is shown it: JSON-like, without secrets, with what is long cut short."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _shortened(redact(value, secrets))
        case bytes() | bytearray():
            return f"<{len(value):,} bytes>"
        case Mapping() if depth < DEEPEST:
            entries = list(cast("Mapping[Any, Any]", value).items())
            some = {_shortened(redact(str(key), secrets)): part for key, part in entries[:MOST_PARTS]}
            left = {"…": f"{len(entries) - MOST_PARTS:,} more"} if len(entries) > MOST_PARTS else {}
            return {key: shown(part, secrets, depth + 1) for key, part in some.items()} | left
        case list() | tuple() | set() | frozenset() if depth < DEEPEST:
            parts = list(cast("Iterable[Any]", value))
            left = [f"… {len(parts) - MOST_PARTS:,} more"] if len(parts) > MOST_PARTS else []
            return [shown(part, secrets, depth + 1) for part in parts[:MOST_PARTS]] + left
        case _ if secrets_in({"": value}):
            return MASK
        case _:
            return _odd(value, secrets, depth)


def _odd(value: Any, secrets: Mapping[str, str], depth: int) -> Any:
    """Show a model, a date or whatever else; a live object by its type only."""
    try:
        plain = pydantic_core.to_jsonable_python(value)
    except (ValueError, TypeError, RecursionError):
        return f"<{type(value).__qualname__}>"
    if depth >= DEEPEST and not isinstance(plain, str):
        return "…"
    return shown(plain, secrets, depth)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"


def deadline_after(wait: timedelta | None, now: datetime) -> datetime | None:
    """Return when something that may take `wait` is over."""
    return None if wait is None else now + wait
