"""From whatever a model, a file or a caller gives to a plan; what cannot be read becomes an issue, no exception."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from planner.limits import Limits
from planner.plan.bindings import show
from planner.plan.issues import ValidationIssue
from planner.plan.mending.patches import Patch
from planner.plan.models import CandidatePlan
from planner.plan.reading.json_text import Reading, read_json
from planner.plan.reading.json_values import Fault, Path, clean

WRAPPERS = ("plan", "candidate_plan", "result", "output", "answer", "response", "arguments", "parameters")
"""Keys that models put around a plan."""

STEP_FIELDS = {
    "arguments": "inputs",
    "args": "inputs",
    "parameters": "inputs",
    "params": "inputs",
    "tool": "action",
    "depends_on": "after",
}
"""Names that models give to a step's fields, each with one meaning."""

REMARKS = frozenset({
    "description", "reason", "reasoning", "rationale", "thought", "thoughts", "comment", "comments", "note", "notes",
    "title", "purpose", "explanation", "assumptions", "summary",
})  # fmt: skip
"""Keys that models add to say something about a step or plan; they are kept in `extras`."""

SHOWN_ISSUES = 50
"""Of a plan with more faults than this in its shape, the first are reported."""

NO_PLAN = 'this JSON is no plan; give an object with a list "steps", each with "id", "action" and "inputs"'

Reshape = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A plan as far as it could be read."""

    plan: CandidatePlan | None
    issues: list[ValidationIssue]
    """Why there is no plan, or why the plan may not be what was meant."""
    patches: tuple[Patch, ...]


def decode_plan(
    source: str | bytes | Mapping[str, Any], limits: Limits | None = None, *, reshape: Reshape | None = None
) -> Decoded:
    """Read a plan, never raising for any text or JSON.

    Text may be fenced, stand in prose, be Python, have trailing commas or lack its last braces. Each change is a patch
    with an empty path, for it was made before there was a plan. Where it is not certain what was meant, the plan comes
    with issues.

    Args:
        source: A text, its bytes, or data.
        limits: `plan_bytes`, `nesting` and `steps` are checked here; the defaults of `Limits` when absent.
        reshape: Turns another form of a plan, such as the wire form, into the plan's own before it is checked.
    """
    limits = limits or Limits()
    if isinstance(source, Mapping):
        reading = Reading(source, found=True)
    else:
        reading = read_json(source, limits, lambda value: _unwrap(value) is not None)
    if not reading.found:
        faults = reading.faults or (Fault((), "undecodable", _no_plan(source)),)
        return Decoded(None, [_issue(fault, {}) for fault in faults], reading.patches)
    cleaned = clean(reading.value, limits, reading.repeats)
    faults = (*reading.faults, *cleaned.faults)
    if any(fault.kind == "over_budget" for fault in faults):
        return Decoded(None, [_issue(fault, {}) for fault in faults], reading.patches)
    return _from_data(cleaned.value, faults, reading.patches, limits, reshape)


def _from_data(
    value: Any, faults: Sequence[Fault], patches: Sequence[Patch], limits: Limits, reshape: Reshape | None
) -> Decoded:
    unwrapped = _unwrap(value)
    if unwrapped is None:
        issue = Fault((), "undecodable", NO_PLAN)
        return Decoded(None, [_issue(fault, {}) for fault in (*faults, issue)], tuple(patches))
    data, prefix, reason = unwrapped
    noted = list(patches)
    if reason:
        noted.append(Patch(path=(), before=reason, after="a plan", reason=f"{reason} was read as a plan"))
    issues = [_issue(Fault(_without(prefix, fault.path), fault.kind, fault.message), data) for fault in faults]
    count = len(data["steps"])
    if count > limits.steps:
        bound = f"the plan has {count} steps, {limits.steps} are allowed (limit 'steps')"
        issues.append(ValidationIssue("over_budget", "", "steps", f"{bound}; map over a list with for_each"))
        return Decoded(None, issues, tuple(noted))
    if reshape is not None:
        data = reshape(data)
    data, mended = _mend_fields(data)
    noted += mended
    try:
        plan = CandidatePlan.from_dict(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)[:SHOWN_ISSUES]
        shape = [Fault(tuple(item["loc"]), "undecodable", _advice(item["type"], item["msg"])) for item in found]
        return Decoded(None, [*issues, *(_issue(fault, data) for fault in shape)], tuple(noted))
    return Decoded(plan, issues, tuple(noted))


def _unwrap(value: Any) -> tuple[dict[str, Any], Path, str] | None:
    """Find the object with the steps; also say where it was, and what stood in its place."""
    prefix: Path = ()
    for _ in range(4):
        if isinstance(value, list | tuple):
            steps = list(cast("Sequence[Any]", value))
            return ({"steps": steps}, prefix, "a list of steps") if steps and all(map(_is_step, steps)) else None
        if not isinstance(value, Mapping):
            return None
        node = cast("Mapping[str, Any]", value)
        if isinstance(node.get("steps"), list | tuple):
            return {**node, "steps": list(node["steps"])}, prefix, f"an object inside {prefix[-1]!r}" if prefix else ""
        if _is_step(node):
            return {"steps": [dict(node)]}, prefix, "a single step"
        key = next((key for key in WRAPPERS if isinstance(node.get(key), Mapping | list)), None)
        if key is None:
            return None
        value, prefix = node[key], (*prefix, key)
    return None


def _is_step(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return "id" in value and not {"action", "action_ref", "tool"}.isdisjoint(cast("Mapping[str, Any]", value))


def _without(prefix: Path, path: Path) -> Path:
    return path[len(prefix) :] if path[: len(prefix)] == prefix else path


def _mend_fields(data: dict[str, Any]) -> tuple[dict[str, Any], list[Patch]]:
    """Give fields with other names the ones they have here, and numbers that are ids a letter."""
    patches: list[Patch] = []
    steps: list[Any] = list(data["steps"])
    for at, step in enumerate(steps):
        if isinstance(step, dict):
            steps[at] = _mend_step(at, cast("dict[str, Any]", step), patches)
    data = _keep_remarks({**data, "steps": steps}, (), patches)
    return _name_numbers(data, patches), patches


def _mend_step(at: int, step: dict[str, Any], patches: list[Patch]) -> dict[str, Any]:
    mended: dict[str, Any] = {}
    for key, value in step.items():
        name = STEP_FIELDS.get(key, key)
        if name != key and name not in step and name not in mended:
            reason = f"{show(('steps', at, key))} is called {name!r} here"
            patches.append(Patch(path=(), before=key, after=name, reason=reason))
            mended[name] = value
        else:
            mended[key] = value
    return _keep_remarks(mended, ("steps", at), patches)


def _keep_remarks(value: dict[str, Any], path: Path, patches: list[Patch]) -> dict[str, Any]:
    remarks = {key: item for key, item in value.items() if key in REMARKS}
    extras: Any = value.get("extras") or {}
    if not remarks or not isinstance(extras, dict):
        return value
    for key in remarks:
        reason = f"{show((*path, key))} is a remark, kept in extras"
        patches.append(Patch(path=(), before=key, after="extras", reason=reason))
    kept = {key: item for key, item in value.items() if key not in remarks}
    return {**kept, "extras": {**remarks, **cast("dict[str, Any]", extras)}}


def _name_numbers(data: dict[str, Any], patches: list[Patch]) -> dict[str, Any]:
    """Rename steps called 1, 2, 3 to s1, s2, s3, together with what refers to them."""
    steps = cast("list[Any]", data["steps"])
    ids = [cast("dict[str, Any]", step).get("id") if isinstance(step, dict) else None for step in steps]
    names = {str(name): f"s{name}" for name in ids if re.fullmatch(r"\d{1,9}", str(name))}
    if not names or not set(names.values()).isdisjoint(map(str, ids)):
        return data
    reference = re.compile(r"(?<!\$)\$\{\s*(\d{1,9})(?=\s*[.\[}])")

    def rename(value: Any, path: Path) -> Any:
        match value:
            case dict():
                return {key: rename(item, (*path, key)) for key, item in cast("dict[str, Any]", value).items()}
            case list():
                return [rename(item, (*path, at)) for at, item in enumerate(cast("list[Any]", value))]
            case _ if _is_id_place(path) and str(value) in names:
                new = names[str(value)]
            case str():
                new = reference.sub(lambda found: f"${{{names[found[1]]}" if found[1] in names else found[0], value)
            case _:
                return value
        if new != value:
            reason = f"{show(path)}: a step's id starts with a letter"
            patches.append(Patch(path=(), before=value, after=new, reason=reason))
        return new

    return cast("dict[str, Any]", rename(data, ()))


def _is_id_place(path: Path) -> bool:
    match path:
        case (
            ("steps", int(), "id" | "after")
            | ("steps", int(), "after", int())
            | ("steps", int(), "after", int(), "step")
        ):
            return True
        case _:
            return False


def _issue(fault: Fault, data: Mapping[str, Any]) -> ValidationIssue:
    """Say where in the plan a fault is, as validation does."""
    match fault.path:
        case ("steps", int(at), *rest):
            steps = data.get("steps", ())
            step = steps[at] if at < len(steps) else None
            name: Any = cast("dict[str, Any]", step).get("id") if isinstance(step, dict) else None
            if isinstance(name, str) and name:
                return ValidationIssue(fault.kind, name, show(tuple(rest)), fault.message)
        case _:
            pass
    return ValidationIssue(fault.kind, "", show(fault.path), fault.message)


def _advice(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "this field is missing; a step needs an id and an action, a plan needs steps"
        case "extra_forbidden":
            fields = "id, action, inputs, for_each, when, after, optional, priority and extras"
            return f"there is no such field; a plan has goal, steps and outputs, a step has {fields}"
        case _:
            return message


def _no_plan(source: str | bytes | Mapping[str, Any]) -> str:
    if not source.strip() if isinstance(source, str | bytes) else False:
        return "the answer is empty; return the plan as one JSON object"
    return "the text holds no plan that can be read; return one JSON object and nothing else"
