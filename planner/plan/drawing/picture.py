"""What a picture of a plan shows: cards, lines and badges, in words; where they stand comes later."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner.catalog import ActionCatalog, ActionSpec
from planner.plan.bindings import references_in
from planner.plan.estimate import action_of
from planner.plan.graph import EdgeKind, PlanGraph, build_graph, step_references
from planner.plan.models import CandidatePlan, PlanStep

MAX_STEPS = 200
"""Steps that are drawn; a picture of more shows nothing."""
MAX_TITLE, MAX_ACTION, MAX_LABEL, MAX_BADGE, MAX_USER = 28, 32, 26, 30, 34

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
CROWD = 7
"""Steps on one level, above which those that differ in name only are drawn as one stack."""
_DIGITS = re.compile(r"(\d{1,15})")
_WORST_FIRST = ("failed", "unknown", "cancelled", "waiting", "running", "skipped", "succeeded")
_EDGE_CLASS = {EdgeKind.DATA: "data", EdgeKind.REQUIRED: "order", EdgeKind.ORDER: "loose"}
_OPERATORS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "in": "in", "not_in": "not in"}


@dataclass(frozen=True, slots=True)
class Badge:
    """A word about a step."""

    text: str
    kind: str = ""
    """`given` for what the plan returns, `warn` for what a person should see, else empty."""


@dataclass(frozen=True, slots=True)
class Card:
    """One step."""

    id: str
    title: str
    action: str
    user: str
    """The keys of the user that it needs."""
    badges: tuple[Badge, ...]
    effect: str
    classes: tuple[str, ...]
    state: str
    hint: str
    """The whole of what may be cut short in the picture."""
    stacked: bool = False
    """Whether it stands for several steps."""


@dataclass(frozen=True, slots=True)
class Line:
    """One edge."""

    kind: str
    """`data`, `order` (comes after) or `loose` (comes after, whatever became of the other)."""
    label: str
    """The outputs that are bound, and nothing for a whole value."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn."""

    goal: str
    cards: Sequence[Card]
    rows: Sequence[Sequence[str]]
    lines: Mapping[tuple[str, str], Line]
    note: str


def picture_of(plan: CandidatePlan, catalog: ActionCatalog | None, states: Mapping[str, str]) -> Picture:
    """Read a plan for drawing; one that is not valid is shown as far as it goes."""
    graph = build_graph(plan)
    steps = {step.id: step for step in reversed(plan.steps)}
    levels = {step: graph.levels.get(step, len(graph.edges)) for step in list(graph.edges)[:MAX_STEPS]}
    shown = sorted(levels, key=lambda step: (levels[step], _natural(step)))
    members = _stacks(steps, graph, shown)
    first = {step: name for name, several in members.items() for step in several}
    rows = defaultdict[int, list[str]](list)
    for at, step_id in enumerate(members):
        rows[graph.levels.get(step_id, len(graph.edges) + at)].append(step_id)  # in a cycle, one below the other
    returned = _returned(plan)
    cards: list[Card] = []
    for step_id, several in members.items():
        spec = None if catalog is None else action_of(steps[step_id], catalog)
        card = _card(steps[step_id], spec, states.get(step_id, ""), returned.get(step_id, []))
        if step_id not in graph.levels or (catalog is not None and spec is None):
            card = replace(card, classes=(*card.classes, "broken"))
        cards.append(card if len(several) == 1 else _stacked(card, several, states))
    hidden = len(graph.edges) - len(shown)
    return Picture(
        goal=visible(plan.goal),
        cards=cards,
        rows=[rows[level] for level in sorted(rows)],
        lines=_lines(steps, graph, first),
        note=f"… and {hidden:,} more steps that are not drawn" if hidden else "",
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort `s2` before `s10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name[:80]) if part]


def _stacks(steps: Mapping[str, PlanStep], graph: PlanGraph, shown: Sequence[str]) -> dict[str, list[str]]:
    """Return the cards to draw with their steps: on a crowded level, steps that differ in name only share one."""
    users = defaultdict[str, set[str]](set)
    for step, waits in graph.edges.items():
        for other in waits:
            users[other].add(step)
    crowd = Counter(graph.levels.get(step, -1) for step in shown)
    alike = defaultdict[object, list[str]](list)
    for step_id in shown:
        step, level = steps[step_id], graph.levels.get(step_id, -1)
        plain = step.when is None and step.for_each is None
        same = (step.action, level, frozenset(graph.edges[step_id].items()), frozenset(users[step_id]), step.optional)
        alike[same if plain and level >= 0 and crowd[level] > CROWD else step_id].append(step_id)
    place = {step: at for at, step in enumerate(shown)}
    groups = [
        group for several in alike.values() for group in ([several] if len(several) > 2 else [[one] for one in several])
    ]
    return {group[0]: group for group in sorted(groups, key=lambda group: place[group[0]])}


def shorten(text: str, most: int) -> str:
    """Cut `text` to `most` letters, on one line."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def visible(text: str) -> str:
    """Replace what no XML may hold, and what would be invisible or turn the direction of the rest of the line."""
    return _UNSEEN.sub("\ufffd", text)


def _card(step: PlanStep, spec: ActionSpec | None, state: str, returned: Sequence[str]) -> Card:
    action = step.action or step.action_ref or "no action"
    keys = dict.fromkeys(
        str(reference.path[0]) for _, reference in step_references(step) if reference.root == "user" and reference.path
    )
    hint = [f"{step.id}: {action}"] + ([spec.description] if spec and spec.description else [])
    return Card(
        id=step.id,
        title=shorten(visible(step.id), MAX_TITLE),
        action=shorten(visible(action), MAX_ACTION),
        user=shorten(visible(f"⟵ {', '.join(keys)}"), MAX_USER) if keys else "",
        badges=_badges(step, spec, returned),
        effect=spec.policy.effect if spec else "",
        classes=("optional",) if step.optional else (),
        state=state,
        hint=shorten("\n".join([*hint, *([state] if state else [])]), 300),
    )


def _stacked(card: Card, several: Sequence[str], states: Mapping[str, str]) -> Card:
    """Let one card stand for many steps, in the state of the one that matters most."""
    found = Counter(states[step] for step in several if step in states)
    state = next((state for state in _WORST_FIRST if found[state]), "")
    if state == "succeeded" and found[state] < len(several):
        state = "running"
    done = f", {found['succeeded']} done" if found else ""
    return replace(
        card,
        title=shorten(visible(f"{several[0]} … {several[-1]}"), MAX_TITLE),
        badges=(Badge(f"{len(several)} steps{done}"), *card.badges),
        state=state,
        stacked=True,
    )


def _badges(step: PlanStep, spec: ActionSpec | None, returned: Sequence[str]) -> tuple[Badge, ...]:
    badges: list[Badge] = []
    if step.for_each is not None:
        count = f" × {len(step.for_each)}" if isinstance(step.for_each, list) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] -- raw JSON
        badges.append(Badge(f"each{count}"))
    if step.when is not None:
        what = str(step.when.ref).removeprefix("${").removesuffix("}")
        sign = _OPERATORS.get(step.when.op)
        test = (
            f"{what} {sign} {step.when.value}"
            if sign
            else f"{what} {step.when.op}"
            if step.when.op == "exists"
            else what
        )
        badges.append(Badge(shorten(visible(f"if {test}"), MAX_BADGE)))
    if step.optional:
        badges.append(Badge("optional"))
    if spec is not None and spec.policy.approval:
        badges.append(Badge("approval", "warn"))
    if spec is not None and spec.policy.effect == "external" and spec.policy.undo is None:
        badges.append(Badge("no undo", "warn"))
    if returned:
        badges.append(Badge(shorten(visible(f"→ {', '.join(returned)}"), MAX_BADGE), "given"))
    return tuple(badges)


def _returned(plan: CandidatePlan) -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for name, value in plan.outputs.items():
        for _, reference in references_in(value):
            if name not in found[reference.root]:
                found[reference.root].append(name)
    return found


def _lines(steps: Mapping[str, PlanStep], graph: PlanGraph, first: Mapping[str, str]) -> dict[tuple[str, str], Line]:
    """Return the edges between the cards that are drawn; `first` tells the card of each step."""
    lines: dict[tuple[str, str], Line] = {}
    for step_id, card in first.items():
        names = defaultdict[str, dict[str, None]](dict)
        for _, reference in step_references(steps[step_id]):
            if reference.path and isinstance(reference.path[0], str) and reference.path[0] != "result":
                names[first.get(reference.root, "")][reference.path[0]] = None
        for other, kind in graph.edges[step_id].items():
            if other in first and (first[other], card) not in lines:
                label = shorten(visible(", ".join(names[first[other]])), MAX_LABEL)
                lines[first[other], card] = Line(_EDGE_CLASS[kind], label)
    return dict(sorted(lines.items()))
