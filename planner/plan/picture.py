"""What a picture of a plan shows: cards, lines and badges, in words; where they stand comes later."""

import re
from collections import defaultdict
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
    looping = sorted(step for step in graph.edges if step not in graph.levels)
    shown = [*graph.order, *looping][:MAX_STEPS]
    rows = defaultdict[int, list[str]](list)
    for step_id in shown:
        rows[graph.levels.get(step_id, len(graph.edges))].append(step_id)
    steps = {step.id: step for step in reversed(plan.steps)}
    returned = _returned(plan)
    cards = [
        _card(steps[step_id], None if catalog is None else action_of(steps[step_id], catalog), states, returned)
        for step_id in shown
    ]
    broken = set(looping)
    if catalog is not None:
        broken |= {step_id for step_id in shown if action_of(steps[step_id], catalog) is None}
    hidden = len(graph.edges) - len(shown)
    return Picture(
        goal=visible(plan.goal),
        cards=[_marked(card) if card.id in broken else card for card in cards],
        rows=[rows[level] for level in sorted(rows)],
        lines=_lines(steps, graph, set(shown)),
        note=f"… and {hidden:,} more steps that are not drawn" if hidden else "",
    )


def shorten(text: str, most: int) -> str:
    """Cut `text` to `most` letters, on one line."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def visible(text: str) -> str:
    """Replace what no XML may hold, and what would be invisible or turn the direction of the rest of the line."""
    return _UNSEEN.sub("\ufffd", text)


def _card(
    step: PlanStep, spec: ActionSpec | None, states: Mapping[str, str], returned: Mapping[str, list[str]]
) -> Card:
    action = step.action or step.action_ref or "no action"
    keys = dict.fromkeys(
        str(reference.path[0]) for _, reference in step_references(step) if reference.root == "user" and reference.path
    )
    state = states.get(step.id, "")
    hint = [f"{step.id}: {action}"] + ([spec.description] if spec and spec.description else [])
    return Card(
        id=step.id,
        title=shorten(visible(step.id), MAX_TITLE),
        action=shorten(visible(action), MAX_ACTION),
        user=shorten(visible(f"⟵ {', '.join(keys)}"), MAX_USER) if keys else "",
        badges=_badges(step, spec, returned.get(step.id, [])),
        effect=spec.policy.effect if spec else "",
        classes=("optional",) if step.optional else (),
        state=state,
        hint=shorten("\n".join([*hint, *([state] if state else [])]), 300),
    )


def _marked(card: Card) -> Card:
    return replace(card, classes=(*card.classes, "broken"))


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


def _lines(steps: Mapping[str, PlanStep], graph: PlanGraph, shown: set[str]) -> dict[tuple[str, str], Line]:
    lines: dict[tuple[str, str], Line] = {}
    for step_id in shown:
        names = defaultdict[str, dict[str, None]](dict)
        for _, reference in step_references(steps[step_id]):
            if reference.path and isinstance(reference.path[0], str) and reference.path[0] != "result":
                names[reference.root][reference.path[0]] = None
        for other, kind in graph.edges[step_id].items():
            if other in shown and other != step_id:
                label = shorten(visible(", ".join(names[other])), MAX_LABEL)
                lines[other, step_id] = Line(_EDGE_CLASS[kind], label)
    return dict(sorted(lines.items()))
