"""From choices to steps: what a search chose, or words suggested, written down as a plan."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.catalog import ActionSpec, Producer
from planner.catalog.producers import Need, ProducerIndex
from planner.catalog.words import split_name
from planner.drafting.reach import Choice, Reached, Source, Sources
from planner.plan import PlanStep, Reference
from planner.plan.bindings import RESERVED_ROOTS

Role = tuple[str, ...]
"""The words that tell two uses of one action apart: `origin` and `destination` of two searches for an airport."""


@dataclass
class Assembly:
    """Steps under construction; the same call with the same inputs is one step."""

    index: ProducerIndex
    sources: Sources
    taken_keys: Collection[str] = ()
    """Keys that the user has given; a question must not be called like one of them."""
    taken_ids: Collection[str] = ()
    preferred: Collection[str] = ()
    steps: list[PlanStep] = field(default_factory=list[PlanStep])
    asked: dict[str, tuple[str, Role]] = field(default_factory=dict[str, tuple[str, Role]])
    """User key → the need that it stands for."""
    _ids: dict[str, str] = field(default_factory=dict[str, str])
    _roles_of: dict[tuple[str, Reference], Role] = field(default_factory=dict[tuple[str, Reference], Role])
    _used_ids: set[str] = field(default_factory=set[str])
    _done: dict[tuple[str, Role], str] = field(default_factory=dict[tuple[str, Role], str])

    def want(self, choice: Choice, reached: Reached) -> Reference:
        """Add the steps that a want needs and return what binds it."""
        if isinstance(choice, Source):
            return choice.reference
        assert choice is not None, "a want is never asked of the user"  # noqa: S101 - reach leaves such wants out
        return Reference(self.call(choice.action, reached), choice.path)

    def call(self, wanted: ActionSpec, reached: Reached) -> str:
        """Add a step for `wanted`, after the steps for its inputs, and return its id."""
        pending: list[tuple[ActionSpec, Role]] = [(wanted, ())]  # a stack in place of recursion
        while pending:
            spec, role = pending[-1]
            needs = self.index.needs(spec)
            roles = self._roles(needs, role, reached)
            missing = [
                (choice.action, roles[need.slot.name])
                for need in needs
                if isinstance(choice := reached.choices[need.key], Producer)
                and (choice.action.ref, roles[need.slot.name]) not in self._done
            ]
            if missing:
                pending.extend(reversed(missing))
                continue
            pending.pop()
            if (spec.ref, role) not in self._done:
                self._done[spec.ref, role] = self.add(spec, self._inputs(spec, roles, reached))
        return self._done[wanted.ref, ()]

    def _roles(self, needs: Sequence[Need], role: Role, reached: Reached) -> dict[str, Role]:
        """Tell the inputs apart that one output gives; the others go on with the role of their step."""
        choices = {need.slot.name: reached.choices[need.key] for need in needs}
        outputs = {name: (one.action.ref, one.path) for name, one in choices.items() if isinstance(one, Producer)}
        given = Counter(outputs.values())
        return {name: _words(name) if name in outputs and given[outputs[name]] > 1 else role for name in choices}

    def _inputs(self, spec: ActionSpec, roles: Mapping[str, Role], reached: Reached) -> dict[str, Any]:
        """Bind the required inputs. One value of the user is one thing: it does not serve as origin and destination."""
        inputs: dict[str, Any] = {}
        used: set[Reference] = set()
        for need in self.index.needs(spec):
            choice, role = reached.choices[need.key], roles[need.slot.name]
            if isinstance(choice, Producer):
                reference = Reference(self._done[choice.action.ref, role], choice.path)
            else:
                source = self._source(need, role, used) if choice is not None else None
                reference = self.ask(need, spec, role) if source is None else source.reference
                used.add(reference)
            inputs[need.slot.name] = str(reference)
        return inputs

    def _source(self, need: Need, role: Role, used: Collection[Reference]) -> Source | None:
        """Return the value that fits a need best by name, role and the caller's preference, unless it is used up."""
        wanted = {*_words(need.slot.name), *role}

        def merit(source: Source) -> tuple[bool, int]:
            key = str(source.reference.path[0]) if source.reference.path else ""
            return key in self.preferred, len(wanted.intersection(_words(key)))

        free = [
            source
            for source in self.sources.find(need.slot)
            if source.reference not in used and self._roles_of.get((need.key, source.reference), role) == role
        ]
        if not free:
            return None
        best = max(free, key=merit)
        self._roles_of[need.key, best.reference] = role
        return best

    def ask(self, need: Need, spec: ActionSpec, role: Role = ()) -> Reference:
        """Return a key for the user to give; the same value is asked for once."""
        base = "_".join([*(word for word in role if word not in _words(need.slot.name)), need.slot.name])
        for key in (base, f"{spec.name}_{base}", *(f"{spec.name}_{base}_{number}" for number in range(2, 10_000))):
            if key not in self.taken_keys and self.asked.setdefault(key, (need.key, role)) == (need.key, role):
                return Reference("user", (key,))
        raise AssertionError("a plan has fewer questions of one name than that")

    def add(self, spec: ActionSpec, inputs: dict[str, Any]) -> str:
        """Add a step, with the optional inputs that the user has values for, unless there is one just like it."""
        for slot in spec.inputs:
            if not slot.required and slot.name not in inputs:
                found = [one for one in self.sources.find(slot) if one.reference.path[-1:] == (slot.name,)]
                if found:
                    inputs[slot.name] = str(found[0].reference)
        same = f"{spec.ref} {sorted(inputs.items())!r}"
        if same not in self._ids:
            step_id = self._new_id(spec.name)
            self._ids[same] = step_id
            self.steps.append(PlanStep(id=step_id, action=spec.name, inputs=inputs))
        return self._ids[same]

    def _new_id(self, name: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:56] or "step"
        base = base if base[0].isalpha() else f"s{base}"
        number = 1
        step_id = base
        while step_id in self._used_ids or step_id in self.taken_ids or step_id in RESERVED_ROOTS:
            number += 1
            step_id = f"{base}_{number}"
        self._used_ids.add(step_id)
        return step_id


def _words(name: str) -> tuple[str, ...]:
    return tuple(split_name(name).replace("-", " ").lower().split())
