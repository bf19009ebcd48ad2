"""A plan as a picture, drawn here: no service and no browser is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.catalog import ActionCatalog
from planner.plan.drawing.picture import Card, Picture, picture_of
from planner.plan.drawing.svg import SIGNS, draw_svg
from planner.plan.models import CandidatePlan

_SHAPES = {"each": ("[[", "]]"), "when": ("{{", "}}"), "": ("(", ")")}
_ARROWS = {"data": "-->", "order": "-.->", "loose": "-.->"}
_COLOURS = {
    "succeeded": "fill:#f2fbf6,stroke:#2e9e60",
    "failed": "fill:#fdf3f4,stroke:#d3465a",
    "cancelled": "fill:#fdf3f4,stroke:#d3465a",
    "unknown": "fill:#fdf3f4,stroke:#d3465a",
    "running": "fill:#f2f6fe,stroke:#3d6fd6",
    "waiting": "fill:#fef8ec,stroke:#d9930d",
    "skipped": "stroke-dasharray:4 3",
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plan drawn twice; a notebook shows the SVG."""

    svg: str
    mermaid: str

    def mimebundle(self) -> dict[str, str]:
        """Return both by their MIME types."""
        return {"image/svg+xml": self.svg, "text/plain": self.mermaid}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return what IPython shows."""
        return self.mimebundle()


def draw_plan(
    plan: CandidatePlan, states: Mapping[str, str] | None = None, catalog: ActionCatalog | None = None
) -> Drawing:
    """Draw `plan`, whether it is valid or not; of a large one the first 200 steps.

    Args:
        plan: The plan.
        states: Step id → its status, such as `succeeded`, `failed`, `skipped`, `running`, `waiting`.
        catalog: Shows effects, approvals and unknown actions as well.
    """
    picture = picture_of(plan, catalog, states or {})
    return Drawing(draw_svg(picture), draw_mermaid(picture))


def draw_mermaid(picture: Picture) -> str:
    """Return a Mermaid flow chart; every letter of a plan's text that could mean something in Mermaid is a number."""
    numbers = {card.id: f"n{at}" for at, card in enumerate(picture.cards)}
    lines = ["flowchart TD"]
    for card in picture.cards:
        opening, closing = _SHAPES[_shape(card)]
        words = [card.title, card.action, *([card.user] if card.user else []), *(badge.text for badge in card.badges)]
        lines.append(f'  {numbers[card.id]}{opening}"{"<br/>".join(_coded(word) for word in words)}"{closing}')
    for (upper, lower), line in picture.lines.items():
        label = f'|"{_coded(line.label)}"|' if line.label else ""
        lines.append(f"  {numbers[upper]} {_ARROWS[line.kind]}{label} {numbers[lower]}")
    used = {card.state for card in picture.cards if card.state in SIGNS}
    lines += [f"  classDef {state} {_COLOURS[state]}" for state in sorted(used)]
    lines += [f"  class {numbers[card.id]} {card.state}" for card in picture.cards if card.state in used]
    if picture.note:
        lines.append(f'  more["{_coded(picture.note)}"]')
    return "\n".join(lines) + "\n"


def _shape(card: Card) -> str:
    first = next((badge.text.split(" ")[0] for badge in card.badges if badge.text.startswith(("each", "if "))), "")
    return {"each": "each", "if": "when"}.get(first, "")


def _coded(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in " _-.,…" else f"#{ord(letter)};" for letter in text)
