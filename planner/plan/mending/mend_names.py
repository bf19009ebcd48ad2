"""Mends the names of actions, inputs and steps, and literals of the wrong type."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.catalog import ActionSpec, Fit, Slot, fits
from planner.catalog.spec import parse_ref
from planner.errors import InvalidRef
from planner.plan.bindings import RESERVED_ROOTS, STEP_ID, has_bindings, texts
from planner.plan.issues import ValidationIssue
from planner.plan.mending.coerce import UNCHANGED, coerce
from planner.plan.mending.names import clear_match, contained_match, loose_match, same_words, share_a_word, words
from planner.plan.mending.patches import ABSENT, Patch
from planner.plan.mending.view import PlanView, only, references_at, value_at
from planner.plan.models import PlanStep
from planner.plan.scope import Typed

PLACEHOLDERS = frozenset({"arg", "argument", "input", "param", "parameter", "value"})
"""Words that stand for any input's name."""
CHATTER = frozenset(
    {
        "comment",
        "explanation",
        "justification",
        "note",
        "notes",
        "rationale",
        "reason",
        "reasoning",
        "thought",
        "thoughts",
    }
)
"""Words of inputs that models add to explain themselves."""


def mend_action(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Name the one action that an unknown name can mean: a slip of it, or the only one of this shape."""
    step, at = view.step_of(issue), view.positions.get(issue.step_id)
    if step is None or at is None or view.specs[step.id] is not None:
        return
    if step.action_ref is not None:
        yield from _mend_ref(view, step, at)
        return
    name = step.action or ""
    meant = clear_match(name, view.known_actions) or _by_shape(view, step)
    if meant is not None:
        yield Patch(
            path=("steps", at, "action"),
            before=step.action,
            after=meant,
            reason=f"no action is called {name!r}; {meant!r} is meant",
        )


def mend_mismatch(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Correct an `action` that is no action's name but a slip of the one in `action_ref`."""
    step, at = view.step_of(issue), view.positions.get(issue.step_id)
    spec = None if step is None else view.specs[step.id]
    if step is None or spec is None or step.action is None or view.catalog.get_action_by_name(step.action) is not None:
        return
    if clear_match(step.action, [spec.name]) is not None:
        reason = f"action {step.action!r} is a slip of {spec.name!r}, which action_ref names"
        yield Patch(path=("steps", at or 0, "action"), before=step.action, after=spec.name, reason=reason)


def _mend_ref(view: PlanView, step: PlanStep, at: int) -> Iterator[Patch]:
    """Mend a reference without kind or version, or with a slip in its name; a version that is gone is not replaced."""
    given = step.action_ref or ""
    try:
        kind, name, version = parse_ref(given)
    except InvalidRef:
        kind, name, version = None, given.rpartition(":")[2].partition("@")[0], "latest"
    meant = clear_match(name, view.known_actions)
    spec = None if meant is None else view.catalog.get_action_by_name(meant, kind=kind)
    if spec is None or version not in ("latest", spec.version):
        return
    reason = f"{given!r} names no action; {spec.ref!r} is meant"
    yield Patch(path=("steps", at, "action_ref"), before=given, after=spec.ref, reason=reason)


def _by_shape(view: PlanView, step: PlanStep) -> str | None:
    """Return the one action of the same words, up to synonyms, that takes and gives what the step does."""
    name = step.action or ""
    used = {str(use.path[0]) for use in view.uses.get(step.id, ()) if use.path and isinstance(use.path[0], str)}
    found = [
        other
        for other in takers(view, step)
        if used <= {slot.name for slot in view.catalog.view.by_name[other].outputs}
        and _values_fit(view, step, view.catalog.view.by_name[other])
    ]
    return only(other for other in found if same_words(name, other))


def takers(view: PlanView, step: PlanStep) -> list[str]:
    """Return the actions that take every input of `step` and need no other."""
    lists = sorted((view.actions_by_input.get(name, []) for name in step.inputs), key=len)
    if not lists:
        return []
    given = step.inputs.keys()
    found: list[str] = []
    for other in lists[0]:
        slots = view.catalog.view.by_name[other].inputs
        if given <= {slot.name for slot in slots} and given >= {slot.name for slot in slots if slot.required}:
            found.append(other)
    return found


def _values_fit(view: PlanView, step: PlanStep, spec: ActionSpec) -> bool:
    for slot in spec.inputs:
        if slot.name in step.inputs and not value_fits(view, step, step.inputs[slot.name], slot):
            return False
    return True


def mend_inputs(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Rename made-up inputs to the ones they mean, and take away what the action surely has no use for."""
    step, at = view.step_of(issue), view.positions.get(issue.step_id)
    spec = None if step is None else view.specs[step.id]
    if step is None or at is None or spec is None or takers(view, step):
        return  # where another action takes all these inputs, the action may be what is wrong
    free = {slot.name: slot for slot in spec.inputs if slot.name not in step.inputs}
    unknown = [name for name in step.inputs if spec.input(name) is None]
    meanings = {name: meant for name in unknown if (meant := _meant_input(view, step, name, free)) is not None}
    counts = Counter(meanings.values())
    renamed = {name: meant for name, meant in meanings.items() if counts[meant] == 1}
    lacking = [name for name, slot in free.items() if slot.required and name not in renamed.values()]
    left = [name for name in unknown if name not in renamed]
    if len(left) == len(lacking) == 1 and _one_for_other(view, step, left[0], free[lacking[0]]):
        renamed[left.pop()] = lacking.pop()
    if renamed:
        after = {renamed.get(name, name): value for name, value in step.inputs.items()}
        slips = ", ".join(f"{name!r} is {meant!r}" for name, meant in renamed.items())
        reason = f"{spec.name} has other names for its inputs: {slips}"
        yield Patch(path=("steps", at, "inputs"), before=dict(step.inputs), after=after, reason=reason)
    for name in () if lacking else left:  # what looks superfluous may be the value that is missing
        if _superfluous(view, step, name, [slot for other, slot in free.items() if other not in renamed.values()]):
            reason = f"{spec.name} has no input {name!r}, and nothing that it needs is missing"
            yield Patch(path=("steps", at, "inputs", name), before=step.inputs[name], after=ABSENT, reason=reason)


def _meant_input(view: PlanView, step: PlanStep, name: str, free: Mapping[str, Slot]) -> str | None:
    fitting = [other for other, slot in free.items() if value_fits(view, step, step.inputs[name], slot)]
    return (
        clear_match(name, fitting)
        or contained_match(name, fitting)
        or loose_match(name, [other for other in fitting if free[other].required])
    )


def _one_for_other(view: PlanView, step: PlanStep, name: str, slot: Slot) -> bool:
    """Tell whether one slip explains both an input too many and one too few: the value fits, and the rest is right."""
    others_right = len(step.inputs) > 1
    return (others_right or PLACEHOLDERS.issuperset(words(name))) and value_fits(view, step, step.inputs[name], slot)


def _superfluous(view: PlanView, step: PlanStep, name: str, free: Sequence[Slot]) -> bool:
    """Tell whether nothing is lost with an input: no data of other steps, and no optional input that it could mean."""
    value = step.inputs[name]
    if has_bindings(value):
        return False
    if any(share_a_word(name, slot.name) for slot in free):
        return False
    return not CHATTER.isdisjoint(words(name)) or not any(value_fits(view, step, value, slot) for slot in free)


def value_fits(view: PlanView, step: PlanStep, value: Any, slot: Slot) -> bool:
    """Tell whether `value` can be given to `slot`, perhaps after its JSON type was mended."""
    references = references_at(value)
    if len(references) == 1 and str(references[0]) == value:
        meaning = view.scope.meaning(references[0], step)
        return not isinstance(meaning, Typed) or fits(meaning.schema, slot.schema) is not Fit.NO
    if references:
        return fits({"type": "string"}, slot.schema) is not Fit.NO
    if has_bindings(value) or not slot.schema:
        return True
    try:
        return slot.validator.is_valid(value) or coerce(value, slot.schema) is not UNCHANGED
    except (ValueError, TypeError):  # a Python value in a plan that was written in Python
        return True


def mend_literal(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Write a literal in the JSON type that its place asks for; take away a null where nothing has to be."""
    path = view.path_of(issue)
    step = view.step_of(issue)
    if path is None or step is None:
        return
    for length in range(len(path), 3, -1):  # the fault may be below the text that holds a whole list or object
        value = value_at(view.document, path[:length])
        if value is ABSENT:
            continue
        meant = coerce(value, view.expected(path[:length]))
        if meant is not UNCHANGED:
            reason = f"{value!r:.60} is not what is asked for; {meant!r:.60} is"
            yield Patch(path=path[:length], before=value, after=meant, reason=reason)
            return
    spec = view.specs[step.id]
    slot = None if spec is None or path[2:3] != ("inputs",) else spec.input(str(path[3]))
    if slot is not None and not slot.required and step.inputs.get(slot.name, ...) is None:
        reason = f"{slot.name!r} may be left out, but not be null"
        yield Patch(path=path[:4], before=None, after=ABSENT, reason=reason)


def mend_step_id(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Give a step whose id breaks the rules one that keeps them, and follow it wherever it is bound."""
    at = view.positions.get(issue.step_id)
    old = issue.step_id
    if at is None or STEP_ID.match(old) or old in RESERVED_ROOTS:
        return
    new = re.sub(r"[^A-Za-z0-9_-]+", "_", old).strip("_")[:60] or "step"
    new = new if new[0].isalpha() else f"s{new}"
    if new in view.specs or new in RESERVED_ROOTS or view.uses.get(new):
        return
    reason = f"{old[:60]!r} is no step id; {new!r} stands for it"
    yield Patch(path=("steps", at, "id"), before=old, after=new, reason=reason)
    yield from _follow(view, old, new, reason)


def drop_repeats(view: PlanView, issue: ValidationIssue) -> Iterator[Patch]:
    """Take away steps that repeat another in every word; two different steps of one id are left alone."""
    places = [at for at, step in enumerate(view.plan.steps) if step.id == issue.step_id]
    if not places or any(view.plan.steps[at] != view.plan.steps[places[0]] for at in places):
        return
    for at in reversed(places[:-1]):  # the last stays: its outputs may be what the plan returns
        reason = f"the step {issue.step_id!r} is there twice, word for word"
        yield Patch(path=("steps", at), before=view.document["steps"][at], after=ABSENT, reason=reason)


def _follow(view: PlanView, old: str, new: str, reason: str) -> Iterator[Patch]:
    """Write `new` wherever `old` is bound; ids that break the rules cannot be read as bindings, so by their text."""
    opening = re.compile(rf"(?<!\$)\$\{{\s*{re.escape(old)}(?=\s*[.\[}}])")
    for root in ("steps", "outputs"):
        for where, text in texts(view.document.get(root), (root,)):
            named = where[2:3] == ("after",) and where[4:] in ((), ("step",)) and text == old
            changed = new if named else opening.sub(f"${{{new}", text)
            if changed != text:
                yield Patch(path=where, before=text, after=changed, reason=reason)
