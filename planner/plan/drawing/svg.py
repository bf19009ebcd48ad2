"""A plan's picture as SVG text: boxes, ways, badges, and the colours of light and dark pages."""

import textwrap
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from planner.plan.drawing.layout import LOOP_WIDTH, Layout, Size, Spot, arrange
from planner.plan.drawing.picture import Badge, Card, Line, Picture, shorten, visible

MARGIN = 22.0
PADDING = 13.0
MIN_WIDTH, MAX_WIDTH = 118.0, 272.0
TITLE_LETTER, CODE_LETTER, SMALL_LETTER = 8.7, 6.8, 5.9
"""Pixels a letter takes in each size of text, on the wide side: the reader's fonts are not known here."""
BADGE_HEIGHT, BADGE_GAP = 17.0, 5.0
GOAL_LETTER = 7.2
GOAL_LINES = 3

STYLE = """
.gg text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}
.gg .page{fill:#fbfbfd;stroke:#e4e6ee}
.gg .box{fill:#ffffff;stroke:#c9cede;stroke-width:1.2}
.gg .bar{fill:#8b93ad}.gg .write .bar{fill:#d9930d}.gg .external .bar{fill:#d3465a}
.gg .id{font-size:13px;font-weight:600;fill:#1d2233}
.gg .action{font-size:11px;fill:#5a6178;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.gg .user{font-size:10.5px;fill:#3d6fd6}
.gg .goal{font-size:13px;fill:#3a4058;font-weight:500}
.gg .note{font-size:11px;fill:#5a6178}
.gg .way{fill:none;stroke:#98a0b8;stroke-width:1.4}
.gg .order{stroke-dasharray:5 4}.gg .loose{stroke-dasharray:2 4}.gg .way.loop{stroke:#d3465a}.gg .tip.loop{fill:#d3465a}
.gg .tip{fill:#98a0b8}
.gg .name{font-size:10px;fill:#5a6178;stroke:#fbfbfd;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
.gg .badge rect{fill:#eef1f8}.gg .badge text{font-size:10px;fill:#4a5270}
.gg .given rect{fill:#e3f4ea}.gg .given text{fill:#1f7a48}
.gg .warn rect{fill:#fdeedd}.gg .warn text{fill:#9a5a06}
.gg .optional .box{stroke-dasharray:5 3}
.gg .succeeded .box{stroke:#2e9e60;fill:#f2fbf6}.gg .failed .box{stroke:#d3465a;fill:#fdf3f4;stroke-width:1.8}
.gg .running .box{stroke:#3d6fd6;fill:#f2f6fe}.gg .waiting .box{stroke:#d9930d;fill:#fef8ec}
.gg .stack{fill:none;stroke:#c9cede}.gg .skipped{opacity:.55}.gg .broken .box{stroke:#d3465a;stroke-dasharray:3 3}
.gg .state{font-size:13px;font-weight:700;fill:#5a6178}
.gg .succeeded .state{fill:#2e9e60}.gg .failed .state{fill:#d3465a}
.gg .running .state{fill:#3d6fd6}.gg .waiting .state{fill:#d9930d}
@media (prefers-color-scheme:dark){
.gg .page{fill:#161922;stroke:#2a2f3d}.gg .box{fill:#1f2430;stroke:#424a5f}
.gg .bar{fill:#6c7590}.gg .write .bar{fill:#e0a63a}.gg .external .bar{fill:#ea6b7d}
.gg .id{fill:#eef0f6}.gg .action,.gg .note,.gg .state{fill:#a3abc2}.gg .goal{fill:#ccd2e3}.gg .user{fill:#8fb2ff}
.gg .way{stroke:#6c7590}.gg .tip{fill:#6c7590}
.gg .name{fill:#b4bbd0;stroke:#161922}
.gg .badge rect{fill:#2b3141}.gg .badge text{fill:#c3cade}
.gg .given rect{fill:#17382a}.gg .given text{fill:#7fdcab}
.gg .warn rect{fill:#40301a}.gg .warn text{fill:#f0be78}
.gg .succeeded .box{fill:#182b22;stroke:#3fb877}.gg .failed .box{fill:#331c22;stroke:#ea6b7d}
.gg .running .box{fill:#1b2640;stroke:#6f9bff}.gg .waiting .box{fill:#33291a;stroke:#e0a63a}
}
""".strip()

SIGNS = {
    "succeeded": "✓",
    "failed": "✕",
    "cancelled": "✕",
    "unknown": "?",
    "running": "▸",
    "waiting": "◦◦◦",
    "skipped": "–",
}
"""The state of a step, for eyes and printers that see no colours."""


def draw_svg(picture: Picture) -> str:
    """Return one SVG document; every text of the plan is escaped."""
    layout = arrange(picture.rows, {card.id: _size(card) for card in picture.cards}, list(picture.lines))
    footer = 24.0 if picture.note else 0.0
    goal = _wrapped(picture.goal, max(40, int(layout.width / GOAL_LETTER)))
    header = 10.0 + 20 * len(goal) if goal else 0.0
    widest = max((len(line) for line in goal), default=0) * GOAL_LETTER
    width = max(layout.width, widest, len(picture.note) * SMALL_LETTER) + 2 * MARGIN
    height = layout.height + header + footer + 2 * MARGIN
    shift = (width - layout.width) / 2
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    look = f'style="max-width:100%;height:auto" aria-label={_quoted(picture.goal or "A plan")}'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gg" role="img" {size} {look}>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="10"/>',
    ]
    parts += [_text("goal", MARGIN, MARGIN + 10 + 20 * at, line) for at, line in enumerate(goal)]
    parts.append(f'<g transform="translate({shift:.1f} {MARGIN + header:.1f})">')
    parts += [_way(line, layout.ways[ends]) for ends, line in picture.lines.items()]
    parts += [_card(card, layout.boxes[card.id]) for card in picture.cards]
    parts += [label for ends, line in picture.lines.items() if (label := _label(line, layout, ends))]
    parts.append("</g>")
    if picture.note:
        parts.append(_text("note", MARGIN, height - MARGIN + 2, picture.note))
    return "".join([*parts, "</svg>"])


def _size(card: Card) -> Size:
    rows = _badge_rows(card)
    widest = max(
        len(card.title) * TITLE_LETTER + 24 * (card.state in SIGNS),
        len(card.action) * CODE_LETTER,
        len(card.user) * SMALL_LETTER,
        *(sum(_badge_width(badge) + BADGE_GAP for badge in row) - BADGE_GAP for row in rows),
    )
    height = 46.0 + 16 * bool(card.user) + (BADGE_HEIGHT + BADGE_GAP) * len(rows) + 2 * bool(rows)
    return min(max(widest + 2 * PADDING + 2, MIN_WIDTH), MAX_WIDTH), height


def _badge_rows(card: Card) -> list[list[Badge]]:
    rows: list[list[Badge]] = []
    left = 0.0
    for badge in card.badges:
        width = _badge_width(badge) + BADGE_GAP
        if not rows or width > left:
            rows.append([])
            left = MAX_WIDTH - 2 * PADDING
        rows[-1].append(badge)
        left -= width
    return rows


def _card(card: Card, box: Spot) -> str:
    left, top = box.x - box.width / 2, box.y
    classes = " ".join(name for name in (card.effect, *card.classes, card.state if card.state in SIGNS else "") if name)
    parts = [f'<g class="{classes}"><title>{_escaped(card.hint)}</title>']
    if card.stacked:
        behind = f"M{left + 6:.1f} {top - 4:.1f}h{box.width - 8:.1f}q6 0 6 6v{box.height - 12:.1f}"
        parts.append(f'<path class="stack" d="{behind}"/>')
    parts += [
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="8"/>',
        f'<rect class="bar" x="{left + 5:.1f}" y="{top + 8:.1f}" width="3" height="{box.height - 16:.1f}" rx="1.5"/>',
        _text("id", left + PADDING + 2, top + 20, card.title),
        _text("action", left + PADDING + 2, top + 36, card.action),
    ]
    y = top + 36
    if card.user:
        y += 16
        parts.append(_text("user", left + PADDING + 2, y, card.user))
    if card.state in SIGNS:
        parts.append(_text("state", left + box.width - 11, top + 20, SIGNS[card.state], anchor="end"))
    y += 8
    for row in _badge_rows(card):
        x = left + PADDING + 2
        for badge in row:
            width = _badge_width(badge)
            place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BADGE_HEIGHT:.0f}"'
            text = _text("", x + width / 2, y + 12, badge.text, anchor="middle")
            parts.append(f'<g class="badge {badge.kind}"><rect {place} rx="8.5"/>{text}</g>')
            x += width + BADGE_GAP
        y += BADGE_HEIGHT + BADGE_GAP
    return "".join([*parts, "</g>"])


def _way(line: Line, points: Sequence[tuple[float, float]]) -> str:
    """Draw an edge: curves between rows, straight lines through them, an arrow tip at the end."""
    (x, y), *rest = points
    if rest[-1][1] <= y:
        to_x, to_y = rest[-1]
        out = max(x, to_x) + LOOP_WIDTH
        loop = f"M{x:.1f} {y:.1f}C{out:.1f} {y:.1f} {out:.1f} {to_y:.1f} {to_x + 6:.1f} {to_y:.1f}"
        tip = f"M{to_x:.1f} {to_y:.1f}l7 -4v8z"
        return f'<path class="way loop {line.kind}" d="{loop}"/><path class="tip loop" d="{tip}"/>'
    path = [f"M{x:.1f} {y:.1f}"]
    last_x, last_y = rest[-1]
    rest[-1] = (last_x, last_y - 6)
    for at, (to_x, to_y) in enumerate(rest):
        if at % 2 == 0:
            middle = (y + to_y) / 2
            path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        else:
            path.append(f"L{to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    tip = f"M{last_x:.1f} {last_y:.1f}l-4 -7h8z"
    return f'<path class="way {line.kind}" d="{"".join(path)}"/><path class="tip" d="{tip}"/>'


def _label(line: Line, layout: Layout, ends: tuple[str, str]) -> str:
    """Write what an edge carries, where it leaves the row of its first box."""
    if not line.label:
        return ""
    (x, y), (to_x, to_y), *_ = layout.ways[ends]
    if to_y <= y:
        return ""  # it goes back up beside the boxes
    return _text("name", (x + to_x) / 2, (y + to_y) / 2 + 3, line.label, anchor="middle")


def _text(name: str, x: float, y: float, text: str, *, anchor: str = "") -> str:
    kind = f' class="{name}"' if name else ""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}"{where}>{_escaped(text)}</text>'


def _wrapped(text: str, letters: int) -> list[str]:
    """Break a goal into a few lines; what is left of it then is cut."""
    lines = textwrap.wrap(shorten(text, letters * GOAL_LINES), letters)
    if len(lines) <= GOAL_LINES:
        return lines
    return [*lines[: GOAL_LINES - 1], shorten(" ".join(lines[GOAL_LINES - 1 :]), letters)]


def _badge_width(badge: Badge) -> float:
    return len(badge.text) * SMALL_LETTER + 14


def _escaped(text: str) -> str:
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    return quoteattr(shorten(visible(text), 200))
