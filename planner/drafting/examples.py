"""Worked examples of skills: read, checked against the catalog once, and chosen for a goal."""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from threading import Lock

from planner.catalog import ActionCatalog, ActionSpec
from planner.catalog.relevance import relevance
from planner.drafting.wire import from_wire, to_wire
from planner.limits import Limits
from planner.plan import CandidatePlan, resolve_step, validate
from planner.plan.reading.decode import decode_plan
from skills import Problem, Skill, SkillRegistry

logger = logging.getLogger("goalgraph")

SHOWN_EXAMPLES = 3
"""Of one goal."""

MAX_EXAMPLE = 20_000
"""Characters; three of them have to fit into every prompt."""

SHOWN_FAULTS = 3
"""Of one example."""

SHOWN_FAULT = 500
"""Characters; it may quote the example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A goal and a plan for it that the catalog allows."""

    skill_id: str
    trusted: bool
    goal: str
    plan: CandidatePlan
    actions: Sequence[ActionSpec]
    """What its steps call."""

    @property
    def text(self) -> str:
        """The goal, and the plan as a model writes it, on one line."""
        return json.dumps({"goal": self.goal, "plan": to_wire(self.plan)}, ensure_ascii=False, default=str)


class ExampleIndex:
    """The worked examples of a registry, checked anew when the skills or the catalog have changed.

    Args:
        catalog: What their steps may call.
        skills: Whose examples these are.
        limits: What their plans are read and checked with.
    """

    def __init__(self, catalog: ActionCatalog, skills: SkillRegistry, limits: Limits) -> None:
        self.catalog = catalog
        self.skills = skills
        self.limits = limits
        self._lock = Lock()  # drafts look for examples in threads
        self._versions: tuple[int, int] | None = None
        self._examples: list[Example] = []
        self._problems: list[Problem] = []
        self._told: set[Problem] = set()

    def problems(self) -> list[Problem]:
        """Return what is wrong with the examples; none that is wrong is shown to a model."""
        with self._lock:
            self._check()
            return list(self._problems)

    def choose(self, goal: str, skills: Collection[str], allowed: Mapping[str, ActionSpec]) -> list[Example]:
        """Return up to three examples of `skills` that are about `goal`, best first.

        Args:
            goal: What a plan is wanted for.
            skills: The ids of the skills that apply.
            allowed: By name, the actions that the request may call; an example with any other is left out.
        """
        with self._lock:
            self._check()
            found = list(self._examples)
        fitting = [
            one for one in found if one.skill_id in skills and all(_is_among(spec, allowed) for spec in one.actions)
        ]
        scored = zip(relevance(goal, [one.goal for one in fitting]), fitting, strict=True)
        best = nlargest(SHOWN_EXAMPLES, scored, key=lambda pair: pair[0])
        return [one for score, one in best if score > 0]

    def _check(self) -> None:
        versions = (self.skills.version, self.catalog.version)
        if versions == self._versions:
            return
        self._examples, self._problems = [], []
        for skill in self.skills.all():
            self._add(skill)
        for problem in self._problems:
            if problem not in self._told:
                self._told.add(problem)
                logger.warning("%s", problem)
        self._versions = versions

    def _add(self, skill: Skill) -> None:
        """Take note of the examples of one skill, or of what is wrong with them."""
        for given in skill.examples:
            plan, faults = self._read(given.text)
            for fault in faults[:SHOWN_FAULTS]:
                said = " ".join(fault.split())[:SHOWN_FAULT]
                message = f"a worked example of {skill.id!r} is not used: {said}"
                self._problems.append(Problem(message=message, path=skill.path, line=given.line))
            if plan is not None and not faults:
                actions = tuple(resolve_step(step, self.catalog) for step in plan.steps)
                self._examples.append(
                    Example(skill_id=skill.id, trusted=skill.trusted, goal=plan.goal, plan=plan, actions=actions)
                )

    def _read(self, text: str) -> tuple[CandidatePlan | None, list[str]]:
        if len(text) > MAX_EXAMPLE:
            return None, [f"it has {len(text):,} characters, and {MAX_EXAMPLE:,} are the most"]
        reshape = partial(from_wire, find=self.catalog.get_action_by_name, limits=self.limits)
        decoded = decode_plan(text, self.limits, reshape=reshape)
        faults = [issue.message for issue in decoded.issues]
        if decoded.plan is None:
            return None, faults
        if not decoded.plan.goal.strip():
            faults.append('it does not say for which goal it is; write "goal": "…" beside "steps"')
        found = validate(decoded.plan, self.catalog, limits=self.limits)
        faults += [f"{_place(issue.step_id)}{issue.message}" for issue in found.issues if issue.is_structural]
        return decoded.plan, faults


def actions_of(examples: Iterable[Example]) -> list[ActionSpec]:
    """Return what the steps of `examples` call."""
    return [spec for one in examples for spec in one.actions]


def _is_among(spec: ActionSpec, allowed: Mapping[str, ActionSpec]) -> bool:
    found = allowed.get(spec.name)
    return found is not None and found.ref == spec.ref


def _place(step_id: str) -> str:
    return f"step {step_id!r}: " if step_id else ""
