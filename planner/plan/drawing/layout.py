"""Where the steps of a plan stand in a picture: rows by level, few crossings, straight ways. Only geometry."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

ROW_GAP = 54.0
COLUMN_GAP = 26.0
BEND_GAP = 13.0
"""Between two edges on their way through a row."""
BEND_WIDTH = 2.0
LOOP_WIDTH = 34.0
"""Beside the boxes, for an edge that goes back up, as in a cycle."""
MAX_ROW = 7
"""Boxes side by side; a level with more goes on in the next row."""
MAX_BENDS = 3_000
"""Where an edge passes rows between its ends; beyond this many, edges are drawn straight."""
SWEEPS = 8

Size = tuple[float, float]


@dataclass(slots=True)
class Spot:
    """A box, or the bend of a long edge on its way through a row."""

    row: int
    width: float
    height: float
    x: float = 0.0
    """Of the middle."""
    y: float = 0.0
    """Of the top."""
    above: list["Spot"] = field(default_factory=list["Spot"])
    below: list["Spot"] = field(default_factory=list["Spot"])
    is_bend: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by name, and the points that each edge passes from the bottom of one box to the top of the other."""

    boxes: Mapping[str, Spot]
    ways: Mapping[tuple[str, str], Sequence[tuple[float, float]]]
    width: float
    height: float


def arrange(levels: Sequence[Sequence[str]], sizes: Mapping[str, Size], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place boxes of the given sizes, level by level from the top; `edges` go from (upper) to (lower) boxes."""
    rows = [list(level[at : at + MAX_ROW]) for level in levels for at in range(0, len(level), MAX_ROW)]
    boxes = {name: Spot(row, *sizes[name]) for row, names in enumerate(rows) for name in names}
    spots: list[list[Spot]] = [[boxes[name] for name in names] for names in rows]
    bends = _bend(edges, boxes, spots)
    _order(spots)
    _set_heights(spots)
    _set_places(spots)
    left = min((spot.x - spot.width / 2 for row in spots for spot in row), default=0.0)
    for row in spots:
        for spot in row:
            spot.x -= left
    ways = {edge: _way(boxes[edge[0]], bends.get(edge, ()), boxes[edge[1]]) for edge in edges}
    width = max((spot.x + spot.width / 2 for row in spots for spot in row), default=0.0)
    if any(boxes[upper].row >= boxes[lower].row for upper, lower in edges):
        width += LOOP_WIDTH
    height = max((box.y + box.height for box in boxes.values()), default=0.0)
    return Layout(boxes, ways, width, height)


def _bend(
    edges: Sequence[tuple[str, str]], boxes: Mapping[str, Spot], spots: Sequence[list[Spot]]
) -> dict[tuple[str, str], list[Spot]]:
    """Put a bend into each row that an edge passes, and join neighbours."""
    spans = sum(max(0, boxes[lower].row - boxes[upper].row - 1) for upper, lower in edges)
    bends: dict[tuple[str, str], list[Spot]] = {}
    for upper, lower in edges:
        first, last = boxes[upper], boxes[lower]
        between: list[Spot] = []
        if spans <= MAX_BENDS:
            between = [Spot(row, BEND_WIDTH, 0.0, is_bend=True) for row in range(first.row + 1, last.row)]
        for spot in between:
            spots[spot.row].append(spot)
        chain = [first, *between, last]
        if first.row < last.row:  # an edge within a cycle may go up, and pulls nothing
            for one, other in pairwise(chain):
                one.below.append(other)
                other.above.append(one)
        bends[upper, lower] = between
    return bends


def _order(rows: Sequence[list[Spot]]) -> None:
    """Sort each row by the middle of its neighbours, down and up again, and keep the order with fewest crossings."""
    best = [list(row) for row in rows]
    fewest = _crossings(rows)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            place = {id(spot): at for other in rows for at, spot in enumerate(other)}
            middle = {
                id(spot): sum(place[id(other)] for other in near) / len(near) if near else place[id(spot)]
                for spot in row
                for near in [spot.above if down else spot.below]
            }
            row.sort(key=lambda spot: middle[id(spot)])
        if (found := _crossings(rows)) < fewest:
            fewest, best = found, [list(row) for row in rows]
    for row, ordered in zip(rows, best, strict=True):
        row[:] = ordered


def _crossings(rows: Sequence[Sequence[Spot]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {id(spot): at for at, spot in enumerate(lower)}
        ends = [sorted(place[id(spot)] for spot in one.below if id(spot) in place) for one in upper]
        seen: defaultdict[int, int] = defaultdict(int)
        for several in ends:
            for end in several:
                total += sum(count for other, count in seen.items() if other > end)
            for end in several:
                seen[end] += 1
    return total


def _set_heights(rows: Sequence[Sequence[Spot]]) -> None:
    y = 0.0
    for row in rows:
        tallest = max(spot.height for spot in row)
        for spot in row:
            spot.y = y + (tallest - spot.height) / 2
            if spot.is_bend:
                spot.height, spot.y = tallest, y
        y += tallest + ROW_GAP


def _set_places(rows: Sequence[Sequence[Spot]]) -> None:
    """Move each spot towards the middle of its neighbours, as far as the others of its row let it."""
    for row in rows:
        _spread(row, [0.0] * len(row))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wishes: list[float] = []
            for spot in row:
                near = (spot.above if down else spot.below) or (spot.below if down else spot.above)
                wishes.append(sum(other.x for other in near) / len(near) if near else spot.x)
            _spread(row, wishes)


def _spread(row: Sequence[Spot], wishes: Sequence[float]) -> None:
    """Place a row in its order without overlaps, as near as possible to the wishes (pooled adjacent violators)."""
    offsets = [0.0]
    for left, right in pairwise(row):
        gap = BEND_GAP if left.is_bend and right.is_bend else COLUMN_GAP
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + gap)
    blocks: list[tuple[float, float, int]] = []  # sum of weighted wishes, weight, how many spots
    for spot, wish, offset in zip(row, wishes, offsets, strict=True):
        weight = 2.0 if spot.is_bend else 1.0  # a long edge should be straight
        block = ((wish - offset) * weight, weight, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
            total, share, count = blocks.pop()
            block = (block[0] + total, block[1] + share, block[2] + count)
        blocks.append(block)
    at = 0
    for total, share, count in blocks:
        for index in range(at, at + count):
            row[index].x = total / share + offsets[index]
        at += count


def _way(upper: Spot, bends: Sequence[Spot], lower: Spot) -> list[tuple[float, float]]:
    if upper.row >= lower.row:
        right = (spot.x + spot.width / 2 for spot in (upper, lower))
        return list(zip(right, (upper.y + upper.height / 2, lower.y + lower.height / 2), strict=True))
    points = [(upper.x, upper.y + upper.height)]
    for bend in bends:
        points += [(bend.x, bend.y), (bend.x, bend.y + bend.height)]
    return [*points, (lower.x, lower.y)]
