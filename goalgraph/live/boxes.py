"""The picture of a plan in letters: a box for each step, rows by level, and lines between them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment, Segments
from rich.style import Style

from goalgraph.live.states import LiveRun, LiveStep
from goalgraph.live.words import MARKS, cut, seconds, visible
from planner.plan.drawing.layout import BEND_GAP, ROW_GAP, Layout, Spot, arrange

COLUMN, ROW = BEND_GAP, ROW_GAP / 2
"""Units of the layout that one letter takes: so two rows lie between boxes, and two columns beside them."""
BOX_HEIGHT = 3
NARROWEST, WIDEST = 22, 34
MOST_STEPS = 40
"""Of a plan with more, no picture in letters tells anything."""
Part = tuple[str, str]
"""A text and its style."""

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
LINES: dict[int, str] = dict(
    zip(
        (3, 12, 5, 9, 6, 10, 7, 11, 13, 14, 15, UP, DOWN, LEFT, RIGHT),
        "│─╯╰╮╭┤├┴┬┼││──",
        strict=True,
    )
)
"""Which ways a line goes from a place → its letter."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """Where everything of a plan stands, in letters; it is the same for the whole life of a plan."""

    boxes: Mapping[str, tuple[int, int, int]]
    """Step → left, top, width."""
    lines: Mapping[tuple[int, int], str]
    """(row, column) → letter."""
    width: int
    height: int


def sketch(run: LiveRun) -> Sketch | None:
    """Place the steps of a plan; `None` when there are too many for a picture."""
    steps = run.steps
    if not 0 < len(steps) <= MOST_STEPS:
        return None
    rows = defaultdict[int, list[str]](list)
    for step in steps.values():
        rows[step.level].append(step.id)
    sizes = {step.id: (_width(step) * COLUMN, BOX_HEIGHT * ROW) for step in steps.values()}
    edges = [(other, step.id) for step in steps.values() for other in step.needs if steps[other].level < step.level]
    layout = arrange([rows[level] for level in sorted(rows)], sizes, edges)
    boxes = {step_id: _box(spot, sizes[step_id][0]) for step_id, spot in layout.boxes.items()}
    width = max(left + width for left, _, width in boxes.values())
    height = max(top for _, top, _ in boxes.values()) + BOX_HEIGHT
    return Sketch(boxes, _lines(layout, boxes), width, height)


def picture(run: LiveRun, sketched: Sketch, now: datetime) -> Segments:
    """Draw a plan with the states of its steps: their signs, words and colours, how long they took, what they say."""
    rows: list[dict[int, Part]] = [{} for _ in range(sketched.height)]
    for (row, column), letter in sketched.lines.items():
        if row < sketched.height:
            rows[row][column] = (letter, "dim")
    for step_id, (left, top, width) in sketched.boxes.items():
        for row, line in enumerate(_drawn(run.steps[step_id], width, now)):
            _put(rows[top + row], left, line)
    return Segments([part for row in rows for part in _segments(row)])


def _drawn(step: LiveStep, width: int, now: datetime) -> list[list[Part]]:
    """Write the box of a step: its name and time in the upper line, what it does inside."""
    mark, style = MARKS[step.status]
    border, weight = ("dim", "") if step.status == "open" else (style, "bold")
    took = step.took(now)
    time = "" if took is None else f" {seconds(took)} "
    room = width - len(time) - 8
    name = _fitted(step.id, room)
    rule = "─" * (room - cell_len(name))
    inside = [(part, style) for part, style in _inside(step, width - 4) if part]
    left = width - 4 - sum(cell_len(part) for part, _ in inside)
    return [
        [("╭─ ", border), (mark, style), (f" {name} ", weight), (rule, border), (time, "dim"), ("─╮", border)],
        [("│ ", border), *inside, (" " * left, ""), (" │", border)],
        [(f"╰{'─' * (width - 2)}╯", border)],
    ]


def _inside(step: LiveStep, room: int) -> list[Part]:
    """Say what a step does: a bar while it tells how far it is, what went wrong, else its state and its action."""
    _, style = MARKS[step.status]
    if step.status == "running" and step.progress is not None:
        share = f" {step.progress:>4.0%}"
        return [(bar(step.progress, room - len(share)), style), (share, "dim")]
    if step.note and step.status in ("running", "failed", "unknown", "cancelled"):
        return [(_fitted(step.note, room), style)]
    word = "" if step.status in ("open", "succeeded") else f"{step.status} "
    tries = f" ×{step.attempts}" if step.attempts > 1 else ""
    return [(word, style), (_fitted(f"{step.action}{tries}", room - len(word)), "dim")]


def _fitted(text: str, cells: int) -> str:
    """Cut a text to so many places on the screen; a Chinese letter takes two."""
    shown = cut(visible(text), cells)
    return set_cell_size(shown, cells) if cell_len(shown) > cells else shown


def bar(share: float, width: int) -> str:
    """Draw how much of something is done, in `width` letters."""
    done = round(max(0.0, min(1.0, share)) * width)
    return "━" * done + "╌" * (width - done)


def _put(row: dict[int, Part], left: int, line: Sequence[Part]) -> None:
    """Write a line into a row, letter by letter, so that what was there before is under it."""
    at = left
    for text, style in line:
        for letter in text:
            cells = cell_len(letter)
            if cells == 0 and at > left:  # it stands on the letter before it
                row[at - 1] = (row[at - 1][0] + letter, row[at - 1][1])
                continue
            row[at] = (letter, style)
            row.update(dict.fromkeys(range(at + 1, at + cells), ("", "")))
            at += cells


def _segments(row: Mapping[int, Part]) -> list[Segment]:
    parts: list[Segment] = []
    for column in range(max(row, default=-1) + 1):
        letter, style = row.get(column, (" ", ""))
        parts.append(Segment(letter, Style.parse(style) if style else None))
    return [*Segment.simplify(parts), Segment.line()]


def _width(step: LiveStep) -> int:
    """Return how wide a box has to be for the step's name with a time behind it, or its action; always even."""
    wanted = max(cell_len(step.id) + 16, cell_len(step.action) + 4, NARROWEST)
    return min(wanted + wanted % 2, WIDEST)


def _box(spot: Spot, width: float) -> tuple[int, int, int]:
    return max(0, round((spot.x - spot.width / 2) / COLUMN)), round(spot.y / ROW), round(width / COLUMN)


def _lines(layout: Layout, boxes: Mapping[str, tuple[int, int, int]]) -> dict[tuple[int, int], str]:
    ways = defaultdict[tuple[int, int], int](int)
    tips: dict[tuple[int, int], str] = {}
    for (upper, lower), points in layout.ways.items():
        places = [(round(y / ROW), round(x / COLUMN)) for x, y in points]
        places[0] = (boxes[upper][1] + BOX_HEIGHT, _middle(boxes[upper]))
        places[-1] = (boxes[lower][1] - 1, _middle(boxes[lower]))
        _trace(ways, places)
        tips[places[-1]] = "▼"
    return {place: LINES[way] for place, way in ways.items()} | tips


def _middle(box: tuple[int, int, int]) -> int:
    return box[0] + box[2] // 2


def _trace(ways: dict[tuple[int, int], int], places: Sequence[tuple[int, int]]) -> None:
    """Draw one edge: down through the rows, and across in the first row between two of them."""
    row, column = places[0]
    ways[row, column] |= UP
    for to_row, to_column in places[1:]:
        if to_column != column:
            step = 1 if to_column > column else -1
            ahead, behind = (RIGHT, LEFT) if step > 0 else (LEFT, RIGHT)
            ways[row, column] |= ahead
            for between in range(column + step, to_column, step):
                ways[row, between] |= LEFT | RIGHT
            ways[row, to_column] |= behind
            column = to_column
        for _ in range(row, to_row):
            ways[row, column] |= DOWN
            row += 1
            ways[row, column] |= UP
