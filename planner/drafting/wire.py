"""Between the form of a plan that a model writes and the plan: references as objects, free values as JSON text.

A text in the wire form means itself: `${` in it is escaped, so that what a user typed cannot become a binding.
An answer that has nothing of the wire form in it is taken for a plan in its own JSON, with `${step.output}`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from planner.catalog import ActionSpec
from planner.errors import InvalidReference
from planner.limits import Limits
from planner.plan import CandidatePlan, PlanStep, Reference, Template, parse_reference, parse_text
from planner.plan.bindings import RESERVED_ROOTS, escape, escape_before
from planner.plan.reading.json_text import read_json
from planner.plan.reading.json_values import clean

Object = dict[str, Any]

CONTROLS = ("for_each", "when", "after", "optional")

SKILLS = "skills"
"""Beside a plan: what a model wants to read first. It is no part of the plan."""

MAX_ASKED = 5
"""Skills and files that one answer may ask for."""

MAX_NAME = 500
"""Characters of each."""


def from_wire(data: Mapping[str, Any], find: Callable[[str], ActionSpec | None], limits: Limits) -> Object:
    """Return the JSON of a plan for what a model wrote, in either form; never raises for any JSON.

    Args:
        data: An object with `steps`.
        find: Gives an action by name, to tell an absent input from one that is `null`.
        limits: Bounds for values that travel as JSON text.
    """
    steps = cast("Sequence[Any]", data.get("steps", ()))
    if not _is_wire(data, steps):
        return {key: value for key, value in data.items() if key != SKILLS}
    reader = _Reader(find, limits, _step_ids(steps))
    plan = {key: value for key, value in data.items() if key not in ("steps", "outputs", "assumptions", SKILLS)}
    plan["steps"] = [reader.step(cast("Object", step)) if isinstance(step, dict) else step for step in steps]
    if data.get("outputs"):
        plan["outputs"] = reader.outputs(data["outputs"])
    if data.get("assumptions") and not plan.get("extras"):
        plan["extras"] = {"assumptions": data["assumptions"]}
    return plan


def asked_skills(answer: str | Mapping[str, Any], limits: Limits) -> tuple[list[str], bool]:
    """Return the skills that an answer names, and whether there are steps beside them."""
    value: Any = answer
    if isinstance(answer, str):
        if f'"{SKILLS}"' not in answer:
            return [], True
        value = read_json(answer, limits, lambda read: isinstance(read, dict) and SKILLS in read).value
    data = dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else Object()
    given = data.get(SKILLS)
    names = cast("list[Any]", given) if isinstance(given, list) else [given]
    asked = dict.fromkeys(_shown(name) for name in names[: 10 * MAX_ASKED] if isinstance(name, str) and name)
    return list(asked)[:MAX_ASKED], bool(data.get("steps"))


def to_wire(plan: CandidatePlan) -> Object:
    """Return the wire form of `plan`, as a model following the tight schema would write it."""
    return {
        "assumptions": [],
        "steps": [_wire_step(step) for step in plan.steps],
        "outputs": [
            {"name": name, "ref": _path(value)} if _path(value) else {"name": name, "value": _wire_value(value)}
            for name, value in plan.outputs.items()
        ],
    }


def _shown(name: str) -> str:
    """Cut a name that goes into the next prompt, which cannot hold lone surrogates."""
    return name[:MAX_NAME].encode("utf-8", "replace").decode()


def _is_wire(data: Mapping[str, Any], steps: Sequence[Any]) -> bool:
    """Tell whether anything in an answer is of the wire form only."""
    if isinstance(data.get("outputs"), list):
        return True
    for step in steps:
        if not isinstance(step, dict):
            continue
        given = cast("Object", step)
        inputs = given.get("inputs")
        if "control" in given or isinstance(inputs, list):
            return True
        if any(_mark(value) for value in _values(inputs)) or _mark(given.get("for_each")):
            return True
    return False


def _values(inputs: Any) -> list[Any]:
    if not isinstance(inputs, dict):
        return []
    found: list[Any] = []
    for value in cast("Object", inputs).values():
        found.append(value)
        found.extend(cast("list[Any]", value) if isinstance(value, list) else [])
    return found


def _mark(value: Any) -> str | None:
    """Return `ref`, `text` or `json` for an object of the wire form."""
    if not isinstance(value, dict) or len(cast("Object", value)) != 1:
        return None
    match cast("Object", value):
        case {"ref": str()}:
            return "ref"
        case {"json": str()}:
            return "json"
        case {"text": list()}:
            return "text"
        case _:
            return None


def _step_ids(steps: Sequence[Any]) -> frozenset[str]:
    ids = (cast("Object", step).get("id") for step in steps if isinstance(step, dict))
    return frozenset(str(name) for name in ids) | RESERVED_ROOTS


class _Reader:
    """Reads the steps of one answer."""

    def __init__(self, find: Callable[[str], ActionSpec | None], limits: Limits, roots: frozenset[str]) -> None:
        self.find = find
        self.limits = limits
        self.roots = roots

    def step(self, step: Object) -> Object:
        control = step.get("control")
        merged = {**step, **cast("Object", control)} if isinstance(control, dict) else dict(step)
        merged.pop("control", None)
        if "inputs" in merged:
            merged["inputs"] = self._inputs(merged["inputs"], self.find(str(step.get("action"))))
        if merged.get("for_each") is not None:
            merged["for_each"] = self._value(merged["for_each"])
        if isinstance(merged.get("when"), dict):
            merged["when"] = self._when(cast("Object", merged["when"]))
        if isinstance(merged.get("after"), list):
            merged["after"] = [_after(item) for item in cast("list[Any]", merged["after"])]
        return {key: value for key, value in merged.items() if value is not None or key not in CONTROLS}

    def outputs(self, outputs: Any) -> Any:
        named = _by_name(outputs)
        if named is not None:
            return {name: self._named(item) for name, item in named.items()}
        if isinstance(outputs, dict):
            return {name: self._value(value) for name, value in cast("Object", outputs).items()}
        return outputs

    def _inputs(self, inputs: Any, spec: ActionSpec | None) -> Any:
        named = _by_name(inputs)
        if named is not None:
            return {name: self._named(item) for name, item in named.items()}
        if not isinstance(inputs, dict):
            return inputs
        given = cast("Object", inputs)
        return {name: self._value(value) for name, value in given.items() if value is not None or _is_asked(spec, name)}

    def _named(self, item: Object) -> Any:
        """Read an entry of a list of inputs: `value`, or `ref` or `value_json` beside the name."""
        if isinstance(item.get("ref"), str) and item["ref"]:
            return _bind(item["ref"])
        if isinstance(item.get("value_json"), str):
            return self._value({"json": item["value_json"]})
        return self._value(item.get("value"))

    def _value(self, value: Any) -> Any:
        match _mark(value):
            case "ref":
                return _bind(value["ref"])
            case "text":
                return self._join(value["text"])
            case "json":
                return self._free(value["json"])
            case _:
                pass
        match value:
            case str():
                return escape(value)
            case list():
                return [self._value(item) for item in cast("list[Any]", value)]
            case dict():
                return self._inside(cast("Object", value))
            case _:
                return value

    def _join(self, parts: Sequence[Any]) -> str:
        text = ""
        given: list[Any] = [*parts, None]
        for part, following in pairwise(given):
            if _mark(part) == "ref":
                text += _bind(part["ref"])  # as it is: what is no binding is for validation to judge
            else:
                literal = part if isinstance(part, str) else _json(part)
                text += escape_before(literal) if _mark(following) == "ref" else escape(literal)
        return text

    def _when(self, when: Object) -> Object:
        read = dict(when)
        match read.get("ref"):
            case str(path) | {"ref": str(path)}:
                read["ref"] = _bind(path)
            case _:
                pass
        if read.get("value") is None:
            read.pop("value", None)
        else:
            read["value"] = self._value(read["value"])
        return read

    def _free(self, text: str) -> Any:
        """Read a value that travels as JSON text; text that is none stays text, for validation to judge."""
        reading = read_json(text, self.limits, lambda _: True)
        if not reading.found or reading.faults:
            return escape(text)
        ends = text.strip()[:1] + text.strip()[-1:]
        if ends not in ("{}", "[]") and isinstance(reading.value, dict | list):
            return escape(text)  # prose that has brackets in it
        value: Any = reading.value
        cleaned = clean(value, self.limits, reading.repeats)
        return escape(text) if cleaned.faults else self._inside(cleaned.value)

    def _inside(self, value: Any) -> Any:
        """Read a nested value: there an object with the one key `ref` may also be just that."""
        match value:
            case str():
                return escape(value)
            case list():
                return [self._inside(item) for item in cast("list[Any]", value)]
            case dict():
                node = cast("Object", value)
                if _mark(node) == "ref" and self._is_known(node["ref"]):
                    return _bind(node["ref"])
                if _mark(node) == "text" and any(_mark(part) == "ref" for part in node["text"]):
                    return self._value(node)
                return {key: self._inside(item) for key, item in node.items()}
            case _:
                return value

    def _is_known(self, path: str) -> bool:
        try:
            return parse_reference(_bind(path)).root in self.roots
        except InvalidReference:
            return False


def _by_name(items: Any) -> dict[str, Object] | None:
    """Return a list of objects with a name by their names; anything else is left as it is."""
    if not isinstance(items, list):
        return None
    named: dict[str, Object] = {}
    for item in cast("list[Any]", items):
        match item:
            case {"name": str(name)} if name not in named:
                named[name] = cast("Object", item)
            case _:
                return None
    return named


def _is_asked(spec: ActionSpec | None, name: str) -> bool:
    """Tell whether `null` can be meant for an input, rather than stand for one that is left out."""
    slot = spec.input(name) if spec else None
    return slot is not None and slot.required and slot.validator.is_valid(None)


def _bind(path: str) -> str:
    """Return the binding for a path, which some models write as a binding already."""
    return path if path.lstrip().startswith("${") else f"${{{path}}}"


def _after(item: Any) -> Any:
    match item:
        case {"step": str(step), "required": True | None}:
            return step
        case {"ref": str(path)}:
            return path.partition(".")[0]
        case _:
            return item


def _wire_step(step: PlanStep) -> Object:
    control: Object | None = None
    if step.for_each is not None or step.when is not None or step.after or step.optional:
        when = step.when
        control = {
            "for_each": None if step.for_each is None else _wire_value(step.for_each),
            "when": None if when is None else {**when.model_dump(), "ref": _path(when.ref) or when.ref},
            "after": [item.model_dump() for item in step.after],
            "optional": step.optional,
        }
        if when is not None and when.value is not None:
            cast("Object", control["when"])["value"] = _wire_value(when.value)
    wired: Object = {"id": step.id, "action": step.action}
    if step.action_ref is not None:
        wired["action_ref"] = step.action_ref
    if step.extras:
        wired["extras"] = step.extras
    if step.priority:
        wired["priority"] = step.priority
    inputs = {name: {"json": "null"} if value is None else _wire_value(value) for name, value in step.inputs.items()}
    return {**wired, "inputs": inputs, "control": control}


def _wire_value(value: Any) -> Any:
    match value:
        case str():
            return _wire_text(value)
        case list():
            items = cast("list[Any]", value)
            if all(not isinstance(item, dict | list) and item is not None for item in items):
                return [_wire_value(item) for item in items]
            return {"json": _json([_wire_inside(item) for item in items])}
        case dict():
            return {"json": _json(_wire_inside(value))}
        case _:
            return value


def _wire_text(text: str) -> Any:
    try:
        parsed = parse_text(text)
    except InvalidReference:
        return {"text": [text]}
    match parsed:
        case Reference():
            return {"ref": str(parsed)[2:-1]}
        case Template(parts=parts):
            return {"text": [{"ref": str(part)[2:-1]} if isinstance(part, Reference) else part for part in parts]}
        case str():
            return parsed


def _wire_inside(value: Any) -> Any:
    match value:
        case str():
            return _wire_text(value)
        case list():
            return [_wire_inside(item) for item in cast("list[Any]", value)]
        case dict():
            return {key: _wire_inside(item) for key, item in cast("Object", value).items()}
        case _:
            return value


def _path(value: Any) -> str:
    """Return what stands between the braces of a single binding, or nothing."""
    match _wire_text(value) if isinstance(value, str) else None:
        case {"ref": str(path)}:
            return path
        case _:
            return ""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
