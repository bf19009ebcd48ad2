"""Mends bindings to what is not there: a step, an output, or a part of a value."""

import re
from collections.abc import Iterable, Iterator

from planner.catalog import Fit, JsonSchema, at_path, fits
from planner.plan.bindings import RESERVED_ROOTS, Reference, references_in
from planner.plan.issues import ValidationIssue
from planner.plan.mending.names import clear_match, contained_match, loose_match, words
from planner.plan.mending.patches import Patch
from planner.plan.mending.view import Path, PlanView, only, references_at, replaced, value_at
from planner.plan.models import PlanStep
from planner.plan.scope import Fault, Typed

_NUMBERED = re.compile(r"(.*?)(\d+)\Z")
WHOLE = frozenset({"result", "output", "outputs", "value", "response", "return", "results", "data"})
"""What models call the whole of what a step returns."""


def mend_unknown_step(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Point a binding, or an entry of `after`, at the one step that it can mean."""
    path = view.path_of(issue)
    if path is None:
        return
    if "after" in path[2:3]:
        yield from _mend_after(view, issue, path)
        return
    yield from _mend_text(view, issue, path, "unknown_step")


def mend_unknown_output(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Name the one output, or the one part of its value, that a binding to an existing step can mean."""
    path = view.path_of(issue)
    if path is not None:
        yield from _mend_text(view, issue, path, "unknown_output")


def mend_whole_value(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Turn `${step}`, which does not fit, into its one output that has the name of the input and fits."""
    path = view.path_of(issue)
    text = None if path is None else value_at(view.document, path)
    references = references_at(text)
    if path is None or len(references) != 1 or references[0].path or str(references[0]) != text:
        return
    spec = view.specs.get(references[0].root)
    if spec is None or spec.single_output:
        return
    target = view.expected(path)
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    found = [
        slot.name
        for slot in spec.outputs
        if words(slot.name) == words(name) or len(spec.outputs) == 1
        if _fit(view, Reference(references[0].root, (slot.name,)), view.step_of(issue), target) is Fit.YES
    ]
    if len(found) == 1:
        new = Reference(references[0].root, (found[0],))
        yield Patch(
            path=path, before=text, after=str(new), reason=f"the whole value does not fit, its {found[0]!r} does"
        )


def mend_user_keys(view: PlanView) -> Iterator[Patch]:
    """Name the one key that the user gave where a binding to another key is a slip of it."""
    known = set(view.user_keys)
    for reference in view.uses.get("user", ()) if known else ():
        key = reference.path[0] if reference.path else None
        if not isinstance(key, str) or key in known:
            continue
        meant = clear_match(key, known)
        if meant is not None:
            new = Reference("user", (meant, *reference.path[1:]))
            yield from _everywhere(view, reference, new, f"the user gives no {key!r} but {meant!r}")


def _everywhere(view: PlanView, old: Reference, new: Reference, reason: str) -> Iterator[Patch]:
    for root in ("steps", "outputs"):
        for where, reference in references_in(view.document.get(root), (root,)):
            if reference == old:
                text = value_at(view.document, where)
                yield Patch(path=where, before=text, after=replaced(text, old, new), reason=reason)


def _mend_after(view: PlanView, issue: ValidationIssue, path: Path) -> Iterator[Patch]:
    entry = value_at(view.document, path)
    name = entry if isinstance(entry, str) else value_at(entry, ("step",))
    if not isinstance(name, str) or name in view.specs:
        return
    meant = clear_match(name, set(view.specs) - view.behind(issue.step_id)) or _step_of_action(view, name)
    if meant is None or meant in view.behind(issue.step_id):
        return
    where = path if isinstance(entry, str) else (*path, "step")
    yield Patch(path=where, before=name, after=meant, reason=f"no step is called {name!r}; {meant!r} is meant")


def _mend_text(view: PlanView, issue: ValidationIssue, path: Path, kind: str) -> Iterator[Patch]:
    """Mend every binding of the text at `path` that has this fault."""
    text = value_at(view.document, path)
    step = view.step_of(issue)
    target = view.expected(path)
    mended, reasons = text, list[str]()
    for reference in dict.fromkeys(references_at(text)):
        meaning = view.scope.meaning(reference, step)
        if not isinstance(meaning, Fault) or meaning.kind != kind:
            continue
        wanted: JsonSchema = target if str(reference) == text else {}  # inside a text anything may stand
        new = (
            _other_step(view, reference, step, wanted)
            if kind == "unknown_step"
            else _other_output(view, reference, step, path, wanted)
        )
        if new is not None:
            mended = replaced(mended, reference, new)
            reasons.append(f"{reference} is not there; {new} is meant")
    if reasons:
        yield Patch(path=path, before=text, after=mended, reason="; ".join(reasons))


def _other_step(view: PlanView, reference: Reference, step: PlanStep | None, target: JsonSchema) -> Reference | None:
    root, path = reference.root, reference.path
    if root == "item":
        return None
    behind = view.behind(step.id) if step is not None else set[str]()
    possible = [other for other in view.specs if other not in behind and other not in RESERVED_ROOTS]

    def fitting(other: str) -> bool:
        return _fit(view, Reference(other, path), step, target) in (Fit.YES, Fit.UNKNOWN)

    meant = clear_match(root, possible) or _step_of_action(view, root)
    if meant is not None:
        return Reference(meant, path) if meant in possible and fitting(meant) else None
    if root in view.user_keys:
        return Reference("user", (root, *path))
    if clear_match(root, ["user"]) and path and path[0] in view.user_keys:
        return Reference("user", path)
    if fills_gap(root, view.specs):
        return None  # a step is missing, so none of the others is meant
    asked = {used.path for used in view.uses.get(root, ())}
    found = only(
        other
        for other in possible
        if all(_declares(view, other, used, step, target) for used in asked) and fitting(other)
    )
    return None if found is None else Reference(found, path)


def _other_output(
    view: PlanView, reference: Reference, step: PlanStep | None, path: Path, target: JsonSchema
) -> Reference | None:
    spec = view.specs.get(reference.root)
    if spec is None or not reference.path:
        return None
    root, (name, *below) = reference.root, reference.path
    names = [slot.name for slot in spec.outputs]
    if not isinstance(name, str) or name in names:
        return _other_part(view, reference, step, target)
    fits_of = {other: _fit(view, Reference(root, (other, *below)), step, target) for other in names}
    possible = [other for other, fit in fits_of.items() if fit in (Fit.YES, Fit.UNKNOWN)]
    sure = [other for other, fit in fits_of.items() if fit is Fit.YES]
    if name.lower() in WHOLE:
        if target and not spec.single_output and _fit(view, Reference(root, tuple(below)), step, target) is Fit.YES:
            return Reference(root, tuple(below))
        same = [other for other in possible if words(other) == words(_input_of(path))]
        meant = only(same) or (only(names) if names == sure else None)
    elif any(other is not None and other.output(name) is not None for other in view.specs.values()):
        return None  # the output of another step: a binding to the wrong step is not touched
    elif spec.single_output and _fit(view, Reference(root, ("result", *reference.path)), step, target) is Fit.YES:
        return Reference(root, ("result", *reference.path))
    elif (meant := clear_match(name, possible)) is None and name not in view.declared_outputs:
        # what another action gives under this name might be meant: then the step or its action would be wrong
        meant = (only(names) if names == sure else None) or contained_match(name, possible) or loose_match(name, sure)
    return None if meant is None else Reference(root, (meant, *below))


def _input_of(path: Path) -> str:
    """Return the name of the input that a place lies in."""
    return str(path[3]) if path[2:3] == ("inputs",) else ""


def _other_part(view: PlanView, reference: Reference, step: PlanStep | None, target: JsonSchema) -> Reference | None:
    """Mend the first part of a path that names nothing, where a property of nearly that name is."""
    for at in range(1, len(reference.path)):
        before = view.scope.meaning(Reference(reference.root, reference.path[:at]), step)
        part = reference.path[at]
        if not isinstance(before, Typed) or not isinstance(part, str) or at_path(before.schema, (part,)) is not None:
            continue
        meant = clear_match(part, before.schema.get("properties", {}))
        if meant is None:
            return None
        new = Reference(reference.root, (*reference.path[:at], meant, *reference.path[at + 1 :]))
        return new if _fit(view, new, step, target) in (Fit.YES, Fit.UNKNOWN) else None
    return None


def _step_of_action(view: PlanView, name: str) -> str | None:
    """Return the one step whose action is called `name`: models bind to the action when they mean the step."""
    return only(
        step_id for step_id, spec in view.specs.items() if spec is not None and words(spec.name) == words(name) != ()
    )


def fills_gap(name: str, known: Iterable[str]) -> bool:
    """Tell whether `name` is a number missing between `s1` and `s3`: then its step was left out, not misspelt."""
    numbered = _NUMBERED.match(name)
    if numbered is None:
        return False
    same = (found for other in known if (found := _NUMBERED.match(other)) and found.group(1) == numbered.group(1))
    return int(numbered.group(2)) < max((int(found.group(2)) for found in same), default=0)


def _declares(view: PlanView, other: str, path: Path, step: PlanStep | None, target: JsonSchema) -> bool:
    """Tell whether the step `other` says that it gives what is asked: by name, or as a whole a record that fits."""
    spec = view.specs[other]
    if spec is None:
        return False
    if path:
        return isinstance(path[0], str) and spec.output(path[0]) is not None
    shape = at_path(target, ()) or {}
    record = "properties" in shape or shape.get("type") == "array"
    return record and _fit(view, Reference(other), step, target) is Fit.YES


def _fit(view: PlanView, reference: Reference, step: PlanStep | None, target: JsonSchema) -> Fit | None:
    """Tell whether `reference` stands for something that fits, or `None` when it stands for nothing."""
    meaning = view.scope.meaning(reference, step)
    return fits(meaning.schema, target) if isinstance(meaning, Typed) else None
