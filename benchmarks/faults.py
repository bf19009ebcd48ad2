"""Faults as language models make them, put into a plan that is right: one function a class (planning.md section 3)."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.catalog import ActionCatalog, ActionSpec
from planner.plan import CandidatePlan, parse_reference

SYNONYMS = {
    "analyze": "examine", "book": "order", "calculate": "compute", "check": "verify", "convert": "transform",
    "create": "make", "find": "search", "generate": "produce", "get": "fetch", "search": "lookup", "send": "dispatch",
    "translate": "interpret",
}  # fmt: skip

Document = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A broken plan, and where its fault is."""

    plan: Document
    kinds: frozenset[str]
    """The issues that name it."""
    step_id: str
    field: str


def references(step: Mapping[str, Any], known: set[str]) -> list[tuple[str, str]]:
    """Return the inputs of `step` that are one binding to an output of another step, with it."""
    found: list[tuple[str, str]] = []
    for name, value in step["inputs"].items():
        if isinstance(value, str) and value.startswith("${") and value.endswith("}") and value.count("${") == 1:
            reference = parse_reference(value)
            if reference.root in known and reference.path:
                found.append((name, value))
    return found


class Breaker:
    """Breaks copies of right plans; the same seed breaks them the same way."""

    def __init__(self, catalog: ActionCatalog, seed: int) -> None:
        self.catalog = catalog
        self.names = list(catalog.view.by_name)
        self.random = random.Random(seed)

    def spec(self, step: Mapping[str, Any]) -> ActionSpec:
        """Return the action of a step of a right plan."""
        return self.catalog.view.by_name[step["action"]]

    def slip(self, name: str) -> str:
        """Drop, double or swap a letter."""
        at = self.random.randrange(1, max(2, len(name) - 1))
        return self.random.choice(
            [
                name[:at] + name[at + 1 :],
                name[:at] + name[at] + name[at:],
                name[: at - 1] + name[at : at + 1] + name[at - 1] + name[at + 1 :],
            ]
        )

    def action_typo(self, plan: Document) -> Fault | None:
        """One letter of an action's name."""
        step = self.random.choice(plan["steps"])
        step["action"] = self.slip(step["action"])
        return (
            None if step["action"] in self.names else Fault(plan, frozenset({"unknown_action"}), step["id"], "action")
        )

    def action_invented(self, plan: Document) -> Fault | None:
        """Another word for the verb, or a word too many."""
        step = self.random.choice(plan["steps"])
        name: str = step["action"]
        verb = name.split("_", maxsplit=1)[0]
        forms = [f"{name}_api", f"do_{name}", name.replace("_", " ").title().replace(" ", "")]
        forms += [name.replace(verb, SYNONYMS[verb], 1)] * 3 if verb in SYNONYMS else []
        step["action"] = self.random.choice(forms)
        return (
            None if step["action"] in self.names else Fault(plan, frozenset({"unknown_action"}), step["id"], "action")
        )

    def action_swapped(self, plan: Document) -> Fault | None:
        """Another existing action."""
        step = self.random.choice(plan["steps"])
        step["action"] = self.random.choice([name for name in self.names if name != step["action"]])
        return Fault(
            plan, frozenset({"unknown_input", "missing_input", "unknown_output", "type_mismatch"}), step["id"], "*"
        )

    def missing_input(self, plan: Document) -> Fault | None:
        """A required input left out."""
        places = [
            (s, i.name) for s in plan["steps"] for i in self.spec(s).inputs if i.required and i.name in s["inputs"]
        ]
        if not places:
            return None
        step, name = self.random.choice(places)
        del step["inputs"][name]
        return Fault(plan, frozenset({"missing_input"}), step["id"], name)

    def input_typo(self, plan: Document) -> Fault | None:
        """One letter of an input's name."""
        return self._renamed_input(plan, self.slip)

    def input_invented(self, plan: Document) -> Fault | None:
        """A made-up name for an input."""
        return self._renamed_input(
            plan,
            lambda name: self.random.choice(
                [f"input_{name}", f"{name}_value", "param", "payload", name.split("_")[-1] + "_arg"]
            ),
        )

    def _renamed_input(self, plan: Document, rename: Callable[[str], str]) -> Fault | None:
        places = [(step, name) for step in plan["steps"] for name in step["inputs"]]
        if not places:
            return None
        step, name = self.random.choice(places)
        new = rename(name)
        if new in step["inputs"] or self.spec(step).input(new) is not None:
            return None
        step["inputs"] = {new if key == name else key: value for key, value in step["inputs"].items()}
        return Fault(plan, frozenset({"unknown_input"}), step["id"], new)

    def extra_key(self, plan: Document) -> Fault | None:
        """An input that the action does not have."""
        step = self.random.choice(plan["steps"])
        name = self.random.choice(["verbose", "note", "reasoning", "api_key"])
        if name in step["inputs"] or self.spec(step).input(name) is not None:
            return None
        step["inputs"][name] = self.random.choice([True, "as asked", 1])
        return Fault(plan, frozenset({"unknown_input"}), step["id"], name)

    def _bound(self, plan: Document) -> tuple[Document, str, str] | None:
        known = {step["id"] for step in plan["steps"]}
        places = [(step, name, text) for step in plan["steps"] for name, text in references(step, known)]
        return self.random.choice(places) if places else None

    def dangling(self, plan: Document) -> Fault | None:
        """A binding to a step that the plan does not have."""
        if (place := self._bound(plan)) is None:
            return None
        step, name, text = place
        step["inputs"][name] = text.replace(
            f"${{{parse_reference(text).root}", self.random.choice(["${var99", "${previous", "${ghost"]), 1
        )
        return Fault(plan, frozenset({"unknown_step"}), step["id"], name)

    def output_typo(self, plan: Document) -> Fault | None:
        """One letter of an output's name."""
        return self._renamed_output(plan, self.slip)

    def output_invented(self, plan: Document) -> Fault | None:
        """A made-up name for an output."""
        return self._renamed_output(
            plan, lambda name: self.random.choice([f"{name}_value", "result", "data", "answer", f"output_{name}"])
        )

    def _renamed_output(self, plan: Document, rename: Callable[[str], str]) -> Fault | None:
        if (place := self._bound(plan)) is None:
            return None
        step, name, text = place
        reference = parse_reference(text)
        source = next(other for other in plan["steps"] if other["id"] == reference.root)
        new = rename(str(reference.path[0]))
        if self.spec(source).output(new) is not None:
            return None
        step["inputs"][name] = text.replace(f".{reference.path[0]}", f".{new}", 1)
        return Fault(plan, frozenset({"unknown_output"}), step["id"], name)

    def other_step(self, plan: Document) -> Fault | None:
        """A binding to an existing step, but the wrong one."""
        if (place := self._bound(plan)) is None:
            return None
        step, name, text = place
        root = parse_reference(text).root
        others = [other["id"] for other in plan["steps"] if other["id"] not in (root, step["id"])]
        if not others:
            return None
        step["inputs"][name] = text.replace(f"${{{root}", f"${{{self.random.choice(others)}", 1)
        return Fault(plan, frozenset({"unknown_output", "type_mismatch", "cycle"}), step["id"], name)

    def number_as_text(self, plan: Document) -> Fault | None:
        """A number or boolean in quotation marks."""
        places = [
            (step, name)
            for step in plan["steps"]
            for name, value in step["inputs"].items()
            if isinstance(value, int | float)
            and (slot := self.spec(step).input(name))
            and not slot.validator.is_valid(str(value))
        ]
        if not places:
            return None
        step, name = self.random.choice(places)
        value = step["inputs"][name]
        step["inputs"][name] = str(value).lower() if isinstance(value, bool) else str(value)
        return Fault(plan, frozenset({"invalid_literal"}), step["id"], name)

    def cycle(self, plan: Document) -> Fault | None:
        """Two steps that wait for each other."""
        if (place := self._bound(plan)) is None:
            return None
        step, _, text = place
        source = next(other for other in plan["steps"] if other["id"] == parse_reference(text).root)
        source["after"] = [step["id"]]
        return Fault(plan, frozenset({"cycle"}), min(source["id"], step["id"]), "")

    def duplicate_id(self, plan: Document) -> Fault | None:
        """Two steps of one id."""
        if len(plan["steps"]) < 2:
            return None
        first, second = self.random.sample(range(len(plan["steps"])), 2)
        plan["steps"][second]["id"] = plan["steps"][first]["id"]
        return Fault(plan, frozenset({"duplicate_step"}), plan["steps"][first]["id"], "id")

    def dropped_step(self, plan: Document) -> Fault | None:
        """A step that others need is left out."""
        if (place := self._bound(plan)) is None:
            return None
        step, name, text = place
        root = parse_reference(text).root
        plan["steps"] = [other for other in plan["steps"] if other["id"] != root]
        return Fault(plan, frozenset({"unknown_step"}), step["id"], name)

    def classes(self) -> Iterator[tuple[str, Callable[[Document], Fault | None]]]:
        """Yield every class of fault with its name."""
        yield from (
            ("action typo", self.action_typo),
            ("action invented", self.action_invented),
            ("input typo", self.input_typo),
            ("input invented", self.input_invented),
            ("extra key", self.extra_key),
            ("dangling reference", self.dangling),
            ("output typo", self.output_typo),
            ("output invented", self.output_invented),
            ("number as text", self.number_as_text),
            ("missing input", self.missing_input),
            ("reference to the wrong step", self.other_step),
            ("dropped step", self.dropped_step),
            ("swapped action", self.action_swapped),
            ("cycle", self.cycle),
            ("duplicate id", self.duplicate_id),
        )


def copy_of(plan: CandidatePlan) -> Document:
    """Return a plan's JSON form that may be changed."""
    return plan.model_copy(deep=True).to_dict()
