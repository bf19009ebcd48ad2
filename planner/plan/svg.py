"""A plan's picture as SVG text: boxes, ways, badges, and the colours of light and dark pages."""

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from planner.plan.layout import Layout, Size, Spot, arrange
from planner.plan.picture import Card, Line, Picture, shorten, visible

MARGIN = 22.0
PADDING = 13.0
MIN_WIDTH, MAX_WIDTH = 118.0, 260.0
TITLE_LETTER, CODE_LETTER, SMALL_LETTER = 7.3, 6.7, 5.9
"""Pixels a letter takes in each size of text, on the wide side: the reader's fonts are not known here."""
BADGE_HEIGHT = 17.0

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
.gg .order{stroke-dasharray:5 4}.gg .loose{stroke-dasharray:2 4}
.gg .tip{fill:#98a0b8}
.gg .name{font-size:10px;fill:#5a6178;stroke:#fbfbfd;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
.gg .badge rect{fill:#eef1f8}.gg .badge text{font-size:10px;fill:#4a5270}
.gg .given rect{fill:#e3f4ea}.gg .given text{fill:#1f7a48}
.gg .warn rect{fill:#fdeedd}.gg .warn text{fill:#9a5a06}
.gg .optional .box{stroke-dasharray:5 3}
.gg .succeeded .box{stroke:#2e9e60;fill:#f2fbf6}.gg .failed .box{stroke:#d3465a;fill:#fdf3f4;stroke-width:1.8}
.gg .running .box{stroke:#3d6fd6;fill:#f2f6fe}.gg .waiting .box{stroke:#d9930d;fill:#fef8ec}
.gg .skipped{opacity:.55}.gg .broken .box{stroke:#d3465a;stroke-dasharray:3 3}
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
    "waiting": "❚❚",
    "skipped": "–",
}
"""The state of a step, for eyes and printers that see no colours."""


def draw_svg(picture: Picture) -> str:
    """Return one SVG document; every text of the plan is escaped."""
    layout = arrange(picture.rows, {card.id: _size(card) for card in picture.cards}, list(picture.lines))
    header = 30.0 if picture.goal else 0.0
    footer = 24.0 if picture.note else 0.0
    goal = shorten(picture.goal, max(36, int(layout.width / 6.8)))
    width = max(layout.width, len(goal) * 6.8, len(picture.note) * 6.0) + 2 * MARGIN
    height = layout.height + header + footer + 2 * MARGIN
    shift = (width - layout.width) / 2
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    look = f'style="max-width:100%;height:auto" aria-label={_quoted(picture.goal or "A plan")}'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gg" role="img" {size} {look}>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="10"/>',
    ]
    if goal:
        parts.append(_text("goal", MARGIN, MARGIN + 10, goal))
    parts.append(f'<g transform="translate({shift:.1f} {MARGIN + header:.1f})">')
    parts += [_way(line, layout.ways[ends]) for ends, line in picture.lines.items()]
    parts += [_card(card, layout.boxes[card.id]) for card in picture.cards]
    parts += [label for ends, line in picture.lines.items() if (label := _label(line, layout, ends))]
    parts.append("</g>")
    if picture.note:
        parts.append(_text("note", MARGIN, height - MARGIN + 2, picture.note))
    return "".join([*parts, "</svg>"])


def _size(card: Card) -> Size:
    badges = sum(_badge_width(badge.text) + 5 for badge in card.badges)
    widest = max(
        len(card.title) * TITLE_LETTER + 18 * bool(card.state),
        len(card.action) * CODE_LETTER,
        len(card.user) * SMALL_LETTER,
        badges,
    )
    height = 46.0 + 16 * bool(card.user) + (BADGE_HEIGHT + 6) * bool(card.badges)
    return min(max(widest + 2 * PADDING, MIN_WIDTH), max(MAX_WIDTH, badges + 2 * PADDING)), height


def _card(card: Card, box: Spot) -> str:
    left, top = box.x - box.width / 2, box.y
    classes = " ".join(["step", card.effect, *card.classes, card.state if card.state in SIGNS else ""]).strip()
    parts = [
        f'<g class="{classes}"><title>{_escaped(card.hint)}</title>',
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
        parts.append(_text("state", left + box.width - 20, top + 20, SIGNS[card.state]))
    x = left + PADDING + 2
    for badge in card.badges:
        width = _badge_width(badge.text)
        parts.append(
            f'<g class="badge {badge.kind}"><rect x="{x:.1f}" y="{y + 8:.1f}" width="{width:.1f}" '
            f'height="{BADGE_HEIGHT:.0f}" rx="8.5"/>{_text("", x + 7, y + 20, badge.text)}</g>'
        )
        x += width + 5
    return "".join([*parts, "</g>"])


def _way(line: Line, points: Sequence[tuple[float, float]]) -> str:
    """Draw an edge: curves between rows, straight lines through them, an arrow tip at the end."""
    (x, y), *rest = points
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
    return _text("name", (x + to_x) / 2, (y + to_y) / 2 + 3, line.label, middle=True)


def _text(name: str, x: float, y: float, text: str, *, middle: bool = False) -> str:
    kind = f' class="{name}"' if name else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}"{anchor}>{_escaped(text)}</text>'


def _badge_width(text: str) -> float:
    return len(text) * SMALL_LETTER + 14


def _escaped(text: str) -> str:
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    return quoteattr(shorten(visible(text), 200))
