"""From what a user wrote to the values that a plan lacks: with a model, or by what is plainly there."""

import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from planner.catalog import ActionCatalog, Slot, as_slot
from planner.drafting.form import bound_slots, kind_text
from planner.drafting.language_model import LanguageModel, Message, Usage
from planner.drafting.prompts import DATA_RULE, data
from planner.drafting.signatures import slot_type
from planner.drafting.wire_schema import value_schema
from planner.errors import ModelError
from planner.limits import Limits
from planner.plan import CandidatePlan
from planner.plan.reading.json_text import read_json
from planner.plan.reading.json_values import clean
from skills import SkillRegistry
from skills import instruction as instruction_of  # `instruction` is what a caller adds here

INPUT_PARSING = "input-parsing"
"""The skill that says how."""

SEPARATORS = f"{string.whitespace},;"
"""What stands between one value and the next key, with or without an "and"."""

Schemas = Mapping[str, Sequence[Slot]]
"""Key → what its value has to fit, at every place where it is needed."""


@dataclass(kw_only=True)
class ParsedInputs:
    """What could be read from a message."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    resolved_keys: set[str] = field(default_factory=set[str])
    missing_keys: set[str] = field(default_factory=set[str])
    errors: list[str] = field(default_factory=list[str])
    """Why a value was not taken, or why the model could not be asked."""
    usage: Usage = field(default_factory=Usage, compare=False)
    """Of the model."""


class InputParser:
    """Reads values for missing keys from a user's message.

    Args:
        llm: The model; without one, `key = value`, `key: value`, JSON, or a message that is the value are understood.
        catalog: Gives the schemas of the places where a plan binds a key.
        limits: Bounds for what the model returns.
        skills: `input-parsing` in it replaces ours.
    """

    def __init__(
        self,
        llm: LanguageModel | None = None,
        catalog: ActionCatalog | None = None,
        limits: Limits | None = None,
        skills: SkillRegistry | None = None,
    ) -> None:
        self.llm = llm
        self.catalog = catalog
        self.limits = limits or Limits()
        self.skills = SkillRegistry() if skills is None else skills

    async def parse_message_for_fields(
        self,
        *,
        message: str | None,
        missing_keys: Sequence[str],
        instruction: str | None = None,
        schemas: Mapping[str, Any] | None = None,
        plan: CandidatePlan | None = None,
        catalog: ActionCatalog | None = None,
    ) -> ParsedInputs:
        """Read the values of `missing_keys` from `message`; a value that does not fit stays missing. Never raises.

        Args:
            message: What the user wrote; `None` is an empty message.
            missing_keys: What is asked for.
            instruction: Anything that helps to read it, such as units.
            schemas: JSON Schema, type, `Slot` or coarse type's name by key.
            plan: Takes the schemas from the places where the keys are bound.
            catalog: Of the plan's actions; the parser's own by default.
        """
        parsed = ParsedInputs(missing_keys=set(missing_keys))
        keys = list(dict.fromkeys(missing_keys))
        if not keys:
            return parsed
        message = message or ""
        slots = _slots(keys, schemas or {}, plan, catalog or self.catalog, parsed.errors)
        found: Any = None
        if self.llm is not None:
            found = await self._ask(self.llm, message, slots, instruction, parsed)
        if found is None:
            found = clean(plainly(message, slots, alone=self.llm is None), self.limits).value or {}
        for key in keys:
            if found.get(key) is not None:
                _take(parsed, key, found[key], slots[key])
        return parsed

    async def _ask(
        self, llm: LanguageModel, message: str, slots: Schemas, instruction: str | None, into: ParsedInputs
    ) -> Mapping[str, Any] | None:
        """Return what the model read, or `None` when it could not be asked or understood, which is noted."""
        errors = into.errors
        asked = {key: given[0] if given else Slot(key) for key, given in slots.items()}
        fields = (
            json.dumps({"field": key, "type": slot_type(slot)}, ensure_ascii=False) for key, slot in asked.items()
        )
        parts = [f"# Fields\n{data('fields', fields)}"]
        if instruction:
            parts.append(f"# Instruction\n{instruction.strip()}")
        parts.append(f"# Message\n{data('message', [json.dumps(message, ensure_ascii=False)])}")
        rules = f"{DATA_RULE}\n\n{instruction_of(self.skills, INPUT_PARSING).strip()}\n"
        prompt = [Message("system", rules), Message("user", "\n\n".join(parts))]
        try:
            completion = await llm.complete(prompt, value_schema(asked))
        except ModelError as error:
            errors.append(f"the model could not be asked: {error}")
            return None
        except Exception as error:  # noqa: BLE001 -- a model of the caller's own may raise anything, and this never does
            errors.append(f"the model failed with {type(error).__name__}: {str(error)[:300]}")
            return None
        into.usage += completion.usage
        return self._read(completion.parsed, completion.text, errors)

    def _read(self, parsed: Any, text: str, errors: list[str]) -> Mapping[str, Any] | None:
        value: Any = parsed
        if not isinstance(parsed, Mapping):
            reading = read_json(text, self.limits, lambda read: isinstance(read, Mapping))
            value = reading.value
            errors += [fault.message for fault in reading.faults]
        cleaned = clean(value, self.limits)
        errors += [fault.message for fault in cleaned.faults]
        found: Any = cleaned.value
        if not isinstance(found, dict):
            errors.append("the model's answer is no JSON object, so nothing was read from it")
            return None
        read = cast("dict[str, Any]", found)
        inner = read.get("values")
        if len(read) == 1 and isinstance(inner, dict):
            read = cast("dict[str, Any]", inner)
        return {key: self._open(item) for key, item in read.items()}

    def _open(self, value: Any) -> Any:
        """Read a value that travels as JSON text."""
        match value:
            case {"json": str(text)} if len(cast("dict[str, Any]", value)) == 1:
                reading = read_json(text, self.limits, lambda _: True)
                return clean(reading.value, self.limits).value if reading.found and not reading.faults else text
            case _:
                return value


def plainly(message: str, slots: Schemas, *, alone: bool = True) -> dict[str, Any]:
    """Read `key = value`, `key: value` and JSON; with `alone`, a message may also be the one value that is missing."""
    try:
        whole = json.loads(message)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and not slots.keys().isdisjoint(cast("dict[str, Any]", whole)):
        return {key: value for key, value in cast("dict[str, Any]", whole).items() if key in slots}
    found = {key: _typed(text, slots[key]) for key, text in _assignments(message, list(slots))}
    if found or not alone or len(slots) != 1:
        return found
    ((key, given),) = slots.items()
    value = _typed(message.strip(), given)
    return {key: value} if message.strip() and given and not _misfits(value, given) else {}


def _assignments(message: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    names = "|".join(re.escape(key) for key in sorted(filter(str.strip, keys), key=len, reverse=True))
    if not names:
        return  # a blank key would be found at every character
    begins = list(re.finditer(rf"(?<![\w.])[\"'`]?({names})[\"'`]?\s*(?:=|:|\bequals\b|\bis\b)\s*", message))
    for at, begin in enumerate(begins):
        end = begins[at + 1].start() if at + 1 < len(begins) else len(message)
        text = message[begin.end() : end].split("\n", 1)[0].strip()
        if at + 1 < len(begins):
            before = text.removesuffix("and")
            text = before if before.endswith(tuple(SEPARATORS)) else text
            text = text.rstrip(SEPARATORS)
        yield begin[1], text.rstrip(" ,;")


def _typed(text: str, slots: Sequence[Slot]) -> Any:
    """Read a text as its slots want it: as it stands, or as JSON."""
    unquoted = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`" else text
    if slots and not _misfits(unquoted, slots):
        return unquoted
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return unquoted
    return value if not slots or not _misfits(value, slots) else unquoted


def _take(parsed: ParsedInputs, key: str, value: Any, slots: Sequence[Slot]) -> None:
    if isinstance(value, str) and _misfits(value, slots):
        value = _typed(value, slots)  # a number written as text
    if faults := _misfits(value, slots):
        parsed.errors.append(f"{key}: {faults}")
        return
    parsed.values[key] = value
    parsed.resolved_keys.add(key)
    parsed.missing_keys.discard(key)


def _misfits(value: Any, slots: Sequence[Slot]) -> str:
    """Say how `value` does not fit, without repeating it; nothing when it does."""
    for slot in slots:
        try:
            fault = next(iter(slot.validator.iter_errors(value)), None)
        except (ValueError, RecursionError) as error:
            return f"cannot be checked: {error}"
        if fault is not None:
            place = "".join(f"[{part!r}]" for part in fault.instance_path)
            return f"its part {place} does not fit" if place else f"the value is not {kind_text(slot.schema)}"
    return ""


def _slots(
    keys: Sequence[str],
    schemas: Mapping[str, Any],
    plan: CandidatePlan | None,
    catalog: ActionCatalog | None,
    errors: list[str],
) -> dict[str, list[Slot]]:
    slots: dict[str, list[Slot]] = {key: [] for key in keys}
    for key in keys:
        try:
            slot = as_slot(key, schemas.get(key))
            _ = slot.validator
        except (TypeError, ValueError) as error:
            errors.append(f"{key}: its schema cannot be used: {error}")
            continue
        if slot.schema:
            slots[key].append(slot)
    if plan is not None and catalog is not None:
        given = {key for key in keys if slots[key]}
        for key, slot in bound_slots(plan, catalog):
            if key in slots and key not in given and slot.schema:
                slots[key].append(slot)
    return slots
