"""The state of a session as it is stored: JSON with a version, without secrets, of bounded size; and back, strictly."""

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from planner.catalog import to_plain
from planner.catalog.values import describe
from planner.context import RequestIdentity
from planner.dialogue.state import MAX_RUNNING, VERSION, SessionState
from planner.drafting.confidential import has_secret, is_secret_name
from planner.drafting.language_model import encodable
from planner.errors import UnstorableOutput
from planner.plan import CandidatePlan
from storage.errors import CorruptRecord, NewerRecord

MAX_BYTES = 256_000
"""Of what a state remembers."""
MAX_QUESTION = 1_000_000
"""Bytes of a state with the question that is open, which is never cut: what is larger belongs into a file."""
SHORT = 4_000
"""Characters of a text that is searched for a secret; a longer one is a document, whatever stands in it."""

OF_THE_CALLER = {"session_id", "identity"}
FIELDS = SessionState.model_fields.keys() - OF_THE_CALLER


def to_stored(state: SessionState) -> dict[str, Any]:
    """Return what is stored of `state`.

    Of a state that is too large, the oldest values and then the oldest artifacts are dropped, from `state` as well.
    Inputs that are secret or no plain data are left out of the question that is open, so that they are asked again.

    Raises:
        UnstorableOutput: that question holds what cannot be stored, or is too large.
    """
    fields = _fields(state)
    size = len(_text(fields))
    if size > MAX_BYTES:
        size = _trim(state, size)
        fields = _fields(state)
    if size > MAX_QUESTION:
        raise UnstorableOutput(
            f"the plan with its values has about {size:,} bytes, and {MAX_QUESTION:,} are kept with a session; "
            "give what is large as a file or a reference"
        )
    return {"version": VERSION, **fields}


def from_stored(session_id: str, identity: RequestIdentity, stored: object) -> SessionState:
    """Return the state that `to_stored` wrote, for the identity that opens it.

    Raises:
        NewerRecord: a newer version wrote it.
        CorruptRecord: it is none, or was changed; the message names the session.
    """
    key = f"state of session {session_id}"
    if not isinstance(stored, Mapping) or "version" not in stored:
        raise CorruptRecord(
            key, "something else than a dialogue stored a context under this id; talk under another session id"
        )
    fields = dict(cast("Mapping[str, Any]", stored))
    version = fields.pop("version")
    if type(version) is int and version > VERSION:
        raise NewerRecord(key, version)
    if type(version) is not int or version != VERSION:
        raise CorruptRecord(key, f"its format {version!r} is unknown; talk under another session id")
    if odd := sorted(map(str, fields.keys() ^ FIELDS)):
        raise CorruptRecord(key, f"{', '.join(odd)}: missing, or unknown to format {VERSION}")
    try:
        return _read(fields).model_copy(update={"session_id": session_id, "identity": identity})
    except ValidationError as error:
        raise CorruptRecord(key, describe(error)) from None  # the cause would show values
    except (TypeError, ValueError, RecursionError) as error:
        raise CorruptRecord(key, f"it is no JSON ({type(error).__name__})") from error


def merged(base: Mapping[str, Any], mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be stored after two turns changed `base`, each without knowing of the other.

    Each field is of whoever changed it, and mine where both did; of runs, artifacts and values this goes for each. A
    question that was answered is not opened again by whoever only repeats it.
    """
    found = {name: theirs[name] if mine[name] == base.get(name) else mine[name] for name in mine}
    found["pending"] = _pending(base.get("pending"), mine["pending"], theirs["pending"])
    for name, most in (("running", MAX_RUNNING), ("artifacts", 0)):
        before: list[Any] = base.get(name, [])
        others = [one for one in theirs[name] if one in mine[name] or one not in before]
        found[name] = [*others, *(one for one in mine[name] if one not in others and one not in before)][-most:]
    values: dict[str, Any] = base.get("values", {})
    changed = {name: value for name, value in mine["values"].items() if name not in values or values[name] != value}
    found["values"] = {**theirs["values"], **changed}
    return found


def _pending(base: Any, mine: Any, theirs: Any) -> Any:
    known, put, other = (None if one is None else one["id"] for one in (base, mine, theirs))
    if put == known:
        return mine if other == known else theirs
    return theirs if put is None and other not in (None, known) else mine


def take_over(state: SessionState, fields: Mapping[str, Any]) -> None:
    """Give `state` what `to_stored` or `merged` returned."""
    read = from_stored(state.session_id, state.identity, fields)
    for name in FIELDS:
        setattr(state, name, getattr(read, name))


def as_json(value: object) -> Any:
    """Return `value` as JSON data.

    Raises:
        UnstorableOutput: it is not plain: an object, bytes, a secret, an integer of more than 64 bits, not a number.
    """
    plain = to_plain(value)
    try:
        return json.loads(json.dumps(plain.value, default=_atom, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableOutput(f"a value is no JSON: {error}") from None


def is_confidential(name: str, value: object, depth: int = 0) -> bool:
    """Tell whether plain data is likely a secret: by its name, by that of a part, or by what a short text says."""
    if is_secret_name(name):
        return True
    match value:
        case str():
            return len(value) <= SHORT and has_secret(value)
        case list() | tuple() if depth < 8:
            return any(is_confidential("", item, depth + 1) for item in cast("list[Any]", value))
        case Mapping() if depth < 8:
            parts = cast("Mapping[Any, Any]", value).items()
            return any(is_confidential(str(key), item, depth + 1) for key, item in parts)
        case _:
            return isinstance(value, list | tuple | Mapping)  # nobody looked so deep


def _fields(state: SessionState) -> dict[str, Any]:
    fields = state.model_dump(exclude={*OF_THE_CALLER, "pending"})
    fields["values"] = _shown(state.values)
    fields["pending"] = None
    if (pending := state.pending) is not None:
        fields["pending"] = pending.model_dump(exclude={"plan", "inputs"})
        fields["pending"]["inputs"] = _shown(pending.inputs)
        fields["pending"]["plan"] = None if pending.plan is None else pending.plan.to_dict()
    try:
        clean = json.loads(_text(fields))
    except (PydanticSerializationError, RecursionError) as error:
        raise UnstorableOutput(f"the question that is open cannot be stored: {error}") from None
    to_plain(clean)  # names an integer that no store can write
    return clean


def _trim(state: SessionState, size: int) -> int:
    while size > MAX_BYTES and state.values:
        name = next(iter(state.values))
        size -= len(_text(_shown({name: state.values.pop(name)})))
    while size > MAX_BYTES and state.artifacts:
        size -= len(_text(state.artifacts.pop(0).model_dump()))
    return size


def _read(fields: dict[str, Any]) -> SessionState:
    """Read the fields strictly; a plan reads itself, because its short forms are not strict."""
    pending = fields["pending"]
    plan: object = None
    if isinstance(pending, dict):
        question = cast("dict[str, Any]", pending)
        plan = question.get("plan")
        fields = {**fields, "pending": {**question, "plan": None}}
    state = SessionState.model_validate_json(json.dumps(fields), strict=True)
    if plan is None or state.pending is None:
        return state
    known = CandidatePlan.model_validate(plan)
    return state.model_copy(update={"pending": state.pending.model_copy(update={"plan": known})})


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that may be stored, as JSON."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            plain = as_json(value)
        except UnstorableOutput:
            continue
        if not is_confidential(name, plain):
            found[name] = plain
    return found


def _text(fields: Mapping[str, Any]) -> bytes:
    """Return JSON in UTF-8; what cannot be encoded, half of a surrogate pair, becomes a question mark."""
    return encodable(json.dumps(fields, ensure_ascii=False, default=to_jsonable_python)).encode()


def _atom(value: object) -> Any:
    """Write a date, a UUID or a decimal as JSON does; bytes have no form there."""
    if isinstance(value, bytes):
        raise TypeError("bytes")
    return to_jsonable_python(value)
