"""What is different between two plans, in words that whoever reads them understands."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from planner.catalog import MISSING
from planner.errors import InvalidReference
from planner.plan.bindings import Reference, Template, escape, parse_text, write_text
from planner.plan.graph import build_graph
from planner.plan.models import CandidatePlan, Condition, PlanStep

ChangeKind = Literal["added", "removed", "changed"]

SHOWN_CHARS = 80
"""Of a value; a longer one is cut."""

COMPARISONS = {
    "eq": "is", "ne": "is not", "lt": "is less than", "le": "is at most", "gt": "is more than", "ge": "is at least",
    "in": "is one of", "not_in": "is none of", "exists": "is there", "truthy": "holds",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference; `str()` is a sentence without a full stop."""

    kind: ChangeKind
    step_id: str
    """As the later plan calls it; of a removed step, as the earlier one did. Empty for the plan's goal and outputs."""
    field: str = ""
    """`inputs.NAME`, `outputs.NAME`, or a field of the step; empty when it is the whole step."""
    before: Any = None
    """`MISSING` where there was nothing; of a whole step, the step."""
    after: Any = None

    def __str__(self) -> str:
        match self.kind, self.before, self.after:
            case "added", _, PlanStep() as step:
                return f"added {step.id} ({_action(step)})"
            case "removed", PlanStep() as step, _:
                return f"removed {step.id} ({_action(step)})"
            case _:
                pass
        if self.field == "id":
            return f"{self.before} is now called {self.step_id}"
        said = self._sentence()
        return f"{self.step_id}: {said}" if self.step_id else said

    def _sentence(self) -> str:
        was, now = self.before, self.after
        match self.field:
            case "for_each":
                return "now runs once" if now is MISSING else f"now runs once for each of {_show(now)}"
            case "when":
                return "now always runs" if now is MISSING else f"now runs only if {_show_condition(now)}"
            case "after":
                return f"now waits for {_show_after(now)} (before: {_show_after(was)})"
            case "optional":
                return "may now fail without stopping the rest" if now else "now stops the plan when it fails"
            case "action":
                return f"action is now {now} (was {was})"
            case field:
                name = field.removeprefix("inputs.")
                name = f"the result {name.removeprefix('outputs.')}" if name.startswith("outputs.") else name
                name = "the goal" if field == "goal" else name
        before = "not set before" if was is MISSING else f"was {_show(was)}"
        return f"{name} is no longer set ({before})" if now is MISSING else f"{name} is now {_show(now)} ({before})"


def difference(before: CandidatePlan, after: CandidatePlan) -> list[Change]:
    """Return what is different in `after`; the order of steps, and fields that only a caller reads, do not count.

    Steps are the same when they have the same id and action; else when they say the same under another id, to which
    what refers to them was changed too; else when they have the same id. First come the steps that were removed, then
    those that were added or changed, in the order of `after`, then the goal and the outputs.
    """
    names = _matches(before, after)
    earlier = {names[step.id]: step for step in before.steps if step.id in names}
    changes = [
        Change(kind="removed", step_id=step.id, before=step, after=MISSING)
        for step in before.steps
        if step.id not in names
    ]
    for step in after.steps:
        if (old := earlier.get(step.id)) is None:
            changes.append(Change(kind="added", step_id=step.id, before=MISSING, after=step))
            continue
        if old.id != step.id:
            changes.append(Change(kind="changed", step_id=step.id, field="id", before=old.id, after=step.id))
        changes += _changes(step.id, _fields(old, names), _fields(step, {}))
    return [*changes, *_changes("", _whole(before, names), _whole(after, {}))]


def _matches(before: CandidatePlan, after: CandidatePlan) -> dict[str, str]:
    """Return which step of `after` each step of `before` has become."""
    later = {step.id: step for step in after.steps}
    names = {step.id: step.id for step in before.steps if step.id in later and _same_action(step, later[step.id])}
    alike = defaultdict[str, list[str]](list)
    for step in reversed(after.steps):
        if step.id not in names:
            alike[_content(step, {})].append(step.id)
    order = {step: at for at, step in enumerate(build_graph(before).order)}
    rest = [step for step in before.steps if step.id not in names]
    for step in sorted(rest, key=lambda step: order.get(step.id, len(order))):  # what a step refers to comes before it
        if twins := alike[_content(step, names)]:
            names[step.id] = twins.pop()
    taken = set(names.values())
    names |= {step.id: step.id for step in rest if step.id not in names and step.id in later.keys() - taken}
    return names


def _changes(step_id: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    for field in [*was, *(field for field in now if field not in was)]:
        old, new = was.get(field, MISSING), now.get(field, MISSING)
        if _text(old) != _text(new):
            yield Change(kind="changed", step_id=step_id, field=field, before=old, after=new)


def _fields(step: PlanStep, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what a step says, with the steps that it refers to called as in `names`."""
    when, fields = step.when, dict[str, Any](action=_action(step))
    fields |= {f"inputs.{name}": _renamed(value, names) for name, value in step.inputs.items()}
    if step.for_each is not None:
        fields["for_each"] = _renamed(step.for_each, names)
    if when is not None:
        fields["when"] = Condition(ref=_renamed(when.ref, names), op=when.op, value=_renamed(when.value, names))
    fields["after"] = sorted((names.get(one.step, one.step), one.required) for one in step.after)
    fields["optional"] = step.optional
    fields["priority"] = step.priority
    return fields


def _whole(plan: CandidatePlan, names: Mapping[str, str]) -> dict[str, Any]:
    outputs = {f"outputs.{name}": _renamed(value, names) for name, value in plan.outputs.items()}
    return {**({"goal": plan.goal} if plan.goal else {}), **outputs}


def _content(step: PlanStep, names: Mapping[str, str]) -> str:
    return _text(_fields(step, names))


def _text(value: Any) -> str:
    """Write a value so that equal texts are equal values: for Python, 1 == True."""
    return json.dumps(value, sort_keys=True, default=repr, ensure_ascii=False)


def _action(step: PlanStep) -> str:
    """Return the name of a step's action; a plan that was resolved has the reference too, and is the same plan."""
    return step.action or (step.action_ref or "").partition(":")[2].partition("@")[0] or "nothing"


def _same_action(step: PlanStep, other: PlanStep) -> bool:
    return _action(step) == _action(other)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return `value` with its bindings written in one way, to steps as they are called in `names`."""
    match value:
        case str():
            return _rewritten(value, names)
        case Mapping():
            items = cast("Mapping[str, Any]", value).items()
            return {key: _renamed(item, names) for key, item in items}
        case list() | tuple():
            return [_renamed(item, names) for item in cast("Sequence[Any]", value)]
        case _:
            return value


def _rewritten(text: str, names: Mapping[str, str]) -> str:
    try:
        parsed = parse_text(text)
    except InvalidReference:
        return text
    match parsed:
        case Reference():
            return str(_moved(parsed, names))
        case Template(parts=parts):
            return write_text([_moved(part, names) if isinstance(part, Reference) else part for part in parts])
        case _:
            return escape(parsed)


def _moved(reference: Reference, names: Mapping[str, str]) -> Reference:
    return Reference(names.get(reference.root, reference.root), reference.path)


def _show(value: Any) -> str:
    """Write a value as people read it: a binding without its marks, all else as JSON."""
    if isinstance(value, str):
        try:
            parsed = parse_text(value)
        except InvalidReference:
            parsed = value
        if isinstance(parsed, Reference):
            return str(parsed)[2:-1]
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def _show_condition(condition: Condition) -> str:
    alone = condition.op in ("exists", "truthy")
    return " ".join([_show(condition.ref), COMPARISONS[condition.op], *([] if alone else [_show(condition.value)])])


def _show_after(after: Any) -> str:
    return ", ".join(step if required else f"{step} (even if it fails)" for step, required in after) or "nothing"
