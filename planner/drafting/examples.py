"""Worked examples of skills: read, checked against the catalog once, and chosen for a goal."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import cast

from planner.catalog import ActionCatalog, ActionSpec
from planner.catalog.relevance import Relevance
from planner.drafting.wire import from_wire, to_wire
from planner.limits import Limits
from planner.plan import CandidatePlan, resolve_step, validate
from planner.plan.reading.decode import decode_plan
from skills import ExampleText, Problem, Skill, SkillRegistry

SHOWN_EXAMPLES = 3
"""Of one goal."""

ADDED_ACTIONS = 10
"""That all examples of one goal may add to what is offered; as many as a search adds behind its hits."""

MAX_EXAMPLE = 20_000
"""Characters; three of them have to fit into every prompt."""

MAX_STEPS = 12
"""Of one example."""

READ_EXAMPLES = 20
"""Of one skill."""

READ_IN_ALL = 2_000
"""Those of trusted skills first."""

COMPARED = 1_000
"""Characters of an example's goal that are compared with the goal of a request."""

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


@dataclass(frozen=True, slots=True)
class _Read:
    """The examples of one skill, and what is wrong with the others, as one version of the catalog has it."""

    skill: Skill
    catalog: int
    given: Sequence[ExampleText]
    """As they are written, which no change of the catalog changes."""
    examples: Sequence[Example]
    problems: Sequence[Problem]


class _Shelf:
    """All examples of one version of the skills and of the catalog."""

    def __init__(self, versions: tuple[int, int], found: Mapping[str, _Read], left_out: Sequence[Problem]) -> None:
        self.versions = versions
        self.examples = [one for read in found.values() for one in read.examples]
        self.goals = Relevance([one.goal[:COMPARED] for one in self.examples])
        self.problems_by_skill = [*(read.problems for read in found.values()), left_out]
        self.problems = [problem for problems in self.problems_by_skill for problem in problems]


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
        self._read: dict[str, _Read] = {}
        self._shelf: _Shelf | None = None
        self._told: _Shelf | None = None
        self._checking = Lock()  # drafts look for examples in threads
        self._telling = Lock()

    def problems(self) -> Sequence[Problem]:
        """Return what is wrong with the examples; none that is wrong is shown to a model."""
        return self._current(wait=True).problems

    def news(self) -> list[str]:
        """Return a line, for a log, for each skill of whose problems some were not there at the last call."""
        shelf = self._current()
        with self._telling:
            told, self._told = self._told, shelf
        if told is shelf:
            return []
        known = set(told.problems) if told is not None else set[Problem]()
        lines: list[str] = []
        for problems in shelf.problems_by_skill:
            new = [problem for problem in problems if problem not in known]
            if new:
                lines.append(str(new[0]) if len(new) == 1 else f"{new[0]} (and {len(new) - 1} more)")
        return lines

    def choose(
        self, goal: str, skills: Collection[str], allowed: Mapping[str, ActionSpec], offered: Iterable[str]
    ) -> list[Example]:
        """Return up to three examples of `skills` that are about `goal`: of trusted skills first, the best first.

        Those of trusted skills may call a few actions that are not offered yet; others call only what is.

        Args:
            goal: What a plan is wanted for.
            skills: The ids of the skills that apply.
            allowed: By name, the actions that the request may call; an example with any other is left out.
            offered: The names of those that it is offered without examples.
        """
        there, room = set(offered), ADDED_ACTIONS
        chosen: list[Example] = []
        for one in self._about(goal, skills):
            new = {spec.name for spec in one.actions} - there
            if len(new) <= (room if one.trusted else 0) and all(_is_among(spec, allowed) for spec in one.actions):
                chosen.append(one)
                there |= new
                room -= len(new)
            if len(chosen) == SHOWN_EXAMPLES:
                break
        return chosen

    def _about(self, goal: str, skills: Collection[str]) -> Iterator[Example]:
        shelf = self._current()
        scores = shelf.goals.scores(goal)
        examples = shelf.examples
        found = [at for at, score in enumerate(scores) if score > 0 and examples[at].skill_id in skills]
        return (examples[at] for at in sorted(found, key=lambda at: (not examples[at].trusted, -scores[at])))

    def _current(self, *, wait: bool = False) -> _Shelf:
        """Return the examples as they are now; or, unless `wait`, as they were while another thread checks them."""
        versions = (self.skills.version, self.catalog.version)  # before they are read: what changes now is read again
        shelf = self._shelf
        if shelf is not None and shelf.versions == versions:
            return shelf
        if not self._checking.acquire(blocking=wait or shelf is None):
            return cast("_Shelf", shelf)  # its plans still fit: their actions are compared with those of the request
        try:
            if self._shelf is None or self._shelf.versions != versions:
                self._shelf = self._checked(versions)
            return self._shelf
        finally:
            self._checking.release()

    def _checked(self, versions: tuple[int, int]) -> _Shelf:
        found: dict[str, _Read] = {}
        left_out: list[Problem] = []
        count = 0
        for skill in sorted(self.skills.all(), key=lambda skill: not skill.trusted):
            read = self._examples_of(skill, versions[1])
            count += min(len(read.given), READ_EXAMPLES)
            if count > READ_IN_ALL:
                message = f"{READ_IN_ALL:,} worked examples are the most; those of {skill.id!r} and behind are not used"
                left_out.append(Problem(message=message, path=skill.path))
                break
            found[skill.id] = read
        self._read = found
        return _Shelf(versions, found, left_out)

    def _examples_of(self, skill: Skill, catalog: int) -> _Read:
        known = self._read.get(skill.id)
        if known is not None and known.skill is skill and known.catalog == catalog:
            return known
        given = known.given if known is not None and known.skill is skill else skill.examples[: READ_EXAMPLES + 1]
        examples: list[Example] = []
        problems: list[Problem] = []
        for one in given[:READ_EXAMPLES]:
            plan, faults = self._plan(one.text)
            for fault in faults[:SHOWN_FAULTS]:
                said = " ".join(fault.split())[:SHOWN_FAULT]
                message = f"a worked example of {skill.id!r} is not used: {said}"
                problems.append(Problem(message=message, path=skill.path, line=one.line))
            if plan is not None and not faults:
                actions = tuple(resolve_step(step, self.catalog) for step in plan.steps)
                examples.append(
                    Example(skill_id=skill.id, trusted=skill.trusted, goal=plan.goal, plan=plan, actions=actions)
                )
        for one in given[READ_EXAMPLES:]:
            message = f"{skill.id!r} has more than {READ_EXAMPLES} worked examples; from here on they are not used"
            problems.append(Problem(message=message, path=skill.path, line=one.line))
        return _Read(skill, catalog, given, examples, problems)

    def _plan(self, text: str) -> tuple[CandidatePlan | None, list[str]]:
        if len(text) > MAX_EXAMPLE:
            return None, [f"it has {len(text):,} characters, and {MAX_EXAMPLE:,} are the most"]
        reshape = partial(from_wire, find=self.catalog.get_action_by_name, limits=self.limits)
        decoded = decode_plan(text, self.limits, reshape=reshape)
        faults = [issue.message for issue in decoded.issues]
        if decoded.plan is None:
            return None, faults
        if len(decoded.plan.steps) > MAX_STEPS:
            return None, [f"it has {len(decoded.plan.steps):,} steps, and {MAX_STEPS} are the most"]
        if not decoded.plan.goal.strip():
            faults.append('it does not say for which goal it is; write "goal": "…" beside "steps"')
        found = validate(decoded.plan, self.catalog, limits=self.limits)
        faults += [f"{_place(issue.step_id)}{issue.message}" for issue in found.issues if issue.is_structural]
        return decoded.plan, faults


def actions_of(examples: Iterable[Example]) -> list[ActionSpec]:
    """Return what the steps of `examples` call."""
    return [spec for one in examples for spec in one.actions]


def _is_among(spec: ActionSpec, allowed: Mapping[str, ActionSpec]) -> bool:
    return allowed.get(spec.name) is spec


def _place(step_id: str) -> str:
    return f"step {step_id!r}: " if step_id else ""
