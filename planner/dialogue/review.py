"""A plan as its user reviews it: in lines, and as what tells whether it has changed since."""

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, cast

from planner.catalog import ActionCatalog, ActionSpec, JsonSchema
from planner.catalog.words import split_name
from planner.dialogue.stored import as_json, is_confidential
from planner.dialogue.values import SHOWN_CHARS, Shown
from planner.drafting.confidential import MASK
from planner.errors import InvalidReference, PlannerError, UnstorableOutput
from planner.plan import CandidatePlan, Condition, PlanStep, Reference, Template, build_graph, parse_text, resolve_step
from planner.plan.difference import COMPARISONS

SHOWN_STEPS = 25
"""Of those that only read."""
ACTED_ON = 1_000
"""Characters of a value that something is done with."""
LONGEST_TITLE = 90

EFFECTS = {"write": "changes data", "external": "acts outside"}


def title_of(spec: ActionSpec) -> str:
    """Say what an action does: the first sentence of its description, else its name in words."""
    first = re.split(r"(?<=[.!?])\s|\n", spec.description.strip(), maxsplit=1)[0].rstrip(". ")
    named = in_words(spec.name)
    title = " ".join(first.split()) or named[:1].upper() + named[1:]
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def in_words(name: str) -> str:
    """Write a name as people would."""
    return split_name(name).replace("_", " ")


def plan_text(
    plan: CandidatePlan, catalog: ActionCatalog, inputs: Mapping[str, Any], earlier: AbstractSet[str] = frozenset()
) -> str:
    """Return the steps of a plan as numbered lines, with what they are given and what they do to the world.

    Only steps that read are ever left out, where there are many.

    Args:
        plan: What is to be run.
        catalog: Its actions.
        inputs: The user's.
        earlier: Names of inputs that no user gave, but an earlier run.
    """
    numbers = {step_id: at for at, step_id in enumerate(build_graph(plan).order, start=1)}
    steps = sorted(plan.steps, key=lambda step: numbers.get(step.id, len(numbers)))
    specs = [spec_of(step, catalog) for step in steps]
    acting = sum(_acts(spec) for spec in specs)
    reads, lines = max(0, SHOWN_STEPS - acting), list[str]()
    for at, (step, spec) in enumerate(zip(steps, specs, strict=True), start=1):
        words = _Words(inputs, numbers, earlier, ACTED_ON if _acts(spec) else SHOWN_CHARS)
        if _acts(spec) or reads > 0:
            lines.append(f"{at}. {words.step(step, spec)}")
            reads -= not _acts(spec)
    if left := len(steps) - len(lines):
        lines.append(f"… and {left:,} more step{'s, which only read' if left > 1 else ', which only reads'}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Words:
    """How a step is told, by what the bindings of its plan stand for."""

    inputs: Mapping[str, Any]
    numbers: Mapping[str, int]
    earlier: AbstractSet[str]
    most: int

    def step(self, step: PlanStep, spec: ActionSpec | None) -> str:
        """Return it on one line."""
        schemas = {slot.name: slot.schema for slot in spec.inputs} if spec is not None else {}
        given = "; ".join(
            f"{in_words(name)}: {self.value(name, value, schemas.get(name))}"
            for name, value in step.inputs.items()
            if value is not None
        )
        notes = [self._times(step.for_each)] if step.for_each is not None else []
        notes += [self._condition(step.when)] if step.when is not None else []
        notes += effects_of(spec) if spec is not None else []
        about = title_of(spec) if spec else (step.action or step.action_ref or step.id)
        told = f"{about} ({given})" if given else about
        return " ".join((f"{told} – {', '.join(notes)}" if notes else told).split())

    def value(self, name: str, value: Any, schema: JsonSchema | None = None) -> str:
        """Write an input: a binding as what it stands for."""
        if (reference := _reference(value)) is not None:
            return self._refer(reference, schema)
        return Shown(most=self.most, text=self._bound).write(name, value, schema)

    def _bound(self, text: str) -> str | None:
        try:
            parsed = parse_text(text)
        except InvalidReference:
            return None
        parts = parsed.parts if isinstance(parsed, Template) else (parsed,)
        plain = Shown(most=self.most)
        told = [part for part in parts if not isinstance(part, str) or part.strip()] or parts[:1]
        return " + ".join(plain.quoted(part) if isinstance(part, str) else self._refer(part, None) for part in told)

    def _refer(self, reference: Reference, schema: JsonSchema | None) -> str:
        match reference:
            case Reference(root="item"):
                return "that one"
            case Reference(root="user", path=(str(key), *_)):
                known = _at(self.inputs, reference.path)
                told = MASK if known is None else Shown(most=self.most).write(key, known, schema)
                shown = f"your {in_words(key)}" if told == MASK else told
                return f"{shown}, from an earlier run" if key in self.earlier else shown
            case _:
                return f"what step {self.numbers.get(reference.root, reference.root)} gives"

    def _times(self, items: Any) -> str:
        reference = _reference(items)
        known = _at(self.inputs, reference.path) if reference is not None and reference.root == "user" else items
        times = f"{len(cast('list[Any]', known)):,} times, " if isinstance(known, list) else ""
        return f"{times}for each of {self.value('', items)}"

    def _condition(self, when: Condition) -> str:
        compared = "" if when.op in ("truthy", "exists") else f" {self.value('', when.value)}"
        named = _Words({}, self.numbers, frozenset(), self.most)  # "10 is more than 9" would say too little
        return f"only if {named.value('', when.ref)} {COMPARISONS[when.op]}{compared}"


def plan_digest(plan: CandidatePlan, catalog: ActionCatalog, inputs: Mapping[str, Any]) -> str:
    """Return what tells whether a plan is still the one that was agreed to.

    It is the SHA-256 of the plan, of its actions as the catalog has them now, and of the inputs that can be stored with
    it; no secret is among them.
    """
    known: dict[str, Any] = {}
    for name, value in inputs.items():
        try:
            plain = as_json(value)
        except UnstorableOutput:
            continue
        if not is_confidential(name, plain):
            known[name] = plain
    actions = [_facts(spec_of(step, catalog)) for step in plan.steps]
    facts = json.dumps([plan.to_dict(), actions, known], sort_keys=True, default=str)
    return sha256(facts.encode()).hexdigest()


def _facts(spec: ActionSpec | None) -> dict[str, Any] | None:
    """Return what somebody who agrees to an action relies on."""
    if spec is None:
        return None
    policy, approval = spec.policy, spec.policy.wanted_approval
    return {
        "action": spec.ref,
        "does": spec.description,
        "effect": policy.effect,
        "undo": policy.undo if isinstance(policy.undo, str) else policy.undo is not None,
        "approval": None if approval is None else asdict(approval),
        "inputs": {slot.name: slot.schema for slot in spec.inputs},
    }


def _acts(spec: ActionSpec | None) -> bool:
    """Tell whether an action does more than read, or may do so."""
    return spec is None or spec.policy.effect != "read" or spec.policy.wanted_approval is not None


def effects_of(spec: ActionSpec) -> list[str]:
    """Say what an action does to the world, and whether somebody is asked first."""
    policy = spec.policy
    effect = EFFECTS.get(policy.effect)
    if effect is None:
        return ["asks first"] if policy.approval else []
    undo = "can be undone" if policy.undo is not None else "cannot be undone"
    return [effect, undo, *(["asks first"] if policy.approval else [])]


def _reference(value: Any) -> Reference | None:
    try:
        parsed = parse_text(value) if isinstance(value, str) else None
    except InvalidReference:
        return None
    return parsed if isinstance(parsed, Reference) else None


def _at(inputs: Mapping[str, Any], path: Sequence[str | int]) -> Any:
    """Return what lies there, or `None`."""
    current: Any = inputs
    for part in path:
        try:
            current = current[part]
        except (KeyError, IndexError, TypeError):
            return None
    return current


def spec_of(step: PlanStep, catalog: ActionCatalog) -> ActionSpec | None:
    """Return the action of a step, if the catalog has it."""
    try:
        return resolve_step(step, catalog)
    except (PlannerError, ValueError):
        return None


def specs_of(plan: CandidatePlan, catalog: ActionCatalog) -> list[ActionSpec]:
    """Return the actions of a plan that the catalog has."""
    return [spec for step in plan.steps if (spec := spec_of(step, catalog)) is not None]
