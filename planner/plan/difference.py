"""What is different between two plans, in words that whoever reads them understands."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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

BEFORE = 30
"""Characters that are shown before the first difference of two long texts."""

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
    """`inputs.NAME`, `outputs.NAME`, or a field of the step; empty when it is the whole step.

    Without a step, `inputs.NAME` is what a user gives to the plan.
    """
    before: Any = None
    """`MISSING` where there was nothing; of a whole step, the step."""
    after: Any = None

    def __str__(self) -> str:
        return self.told()

    def told(
        self, show: Callable[[str, Any], str] | None = None, redacted: Callable[[str], str] = lambda text: text
    ) -> str:
        """Return the sentence, for somebody who may not see everything.

        Args:
            show: Writes a value that has this name; as JSON, by default.
            redacted: Takes secrets out of a text.
        """
        match self.kind, self.before, self.after:
            case "added", _, PlanStep() as step:
                return f"added {step.id} ({_action(step)})"
            case "removed", PlanStep() as step, _:
                return f"removed {step.id} ({_action(step)})"
            case _:
                pass
        if self.field == "id":
            return f"{self.before} is now called {self.step_id}"
        was, now = self.before, self.after
        if isinstance(was, str) and isinstance(now, str):
            was, now = _apart(redacted(was), redacted(now))
        said = self._sentence(was, now, show or (lambda _, value: _json(value)))
        return f"{self.step_id}: {said}" if self.step_id else said

    def _sentence(self, was: Any, now: Any, show: Callable[[str, Any], str]) -> str:
        name = self.field.removeprefix("inputs.").removeprefix("outputs.")
        is_given = not self.step_id and self.field.startswith("inputs.")  # by a user, and so it stands for itself

        def value(value: Any) -> str:
            return show(name, value) if is_given else _bound(value, lambda plain: show(name, plain))

        match self.field:
            case "for_each":
                return "now runs once" if now is MISSING else f"now runs once for each of {value(now)}"
            case "when":
                return "now always runs" if now is MISSING else f"now runs only if {_condition(now, value)}"
            case "after":
                return f"now waits for {_show_after(now)} (before: {_show_after(was)})"
            case "optional":
                return "may now fail without stopping the rest" if now else "now stops the plan when it fails"
            case "action":
                return f"action is now {now} (was {was})"
            case "goal":
                called = "the goal"
            case field:
                called = f"the result {name}" if field.startswith("outputs.") else name
        before = "not set before" if was is MISSING else f"was {value(was)}"
        return f"{called} is no longer set ({before})" if now is MISSING else f"{called} is now {value(now)} ({before})"


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
        changes += _changes(step.id, _fields(old, names) | _version(old, step), _fields(step, {}) | _version(step, old))
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


def _version(step: PlanStep, other: PlanStep) -> dict[str, Any]:
    """Return the reference of a step's action where the other step refers to another action of that name."""
    refs = (step.action_ref, other.action_ref)
    return {"action": step.action_ref} if all(refs) and refs[0] != refs[1] and _same_action(step, other) else {}


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


def _apart(was: str, now: str) -> tuple[str, str]:
    """Leave out the beginning that two texts share, where they would be cut before they differ."""
    pairs = enumerate(zip(was, now, strict=False))
    shared = next((at for at, (one, other) in pairs if one != other), min(len(was), len(now)))
    if shared < SHOWN_CHARS // 2:
        return was, now
    return f"…{was[shared - BEFORE :]}", f"…{now[shared - BEFORE :]}"


def _bound(value: Any, show: Callable[[Any], str]) -> str:
    """Write what stands in a plan: a binding without its marks, and a text that is none without its escapes."""
    try:
        parsed = parse_text(value) if isinstance(value, str) else value
    except InvalidReference:
        return show(value)
    return (
        str(parsed)[2:-1] if isinstance(parsed, Reference) else show(value if isinstance(parsed, Template) else parsed)
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"


def _condition(condition: Condition, write: Callable[[Any], str]) -> str:
    alone = condition.op in ("exists", "truthy")
    return " ".join([write(condition.ref), COMPARISONS[condition.op], *([] if alone else [write(condition.value)])])


def _show_after(after: Any) -> str:
    return ", ".join(step if required else f"{step} (even if it fails)" for step, required in after) or "nothing"
