"""Places for the boxes of a graph, in rows from top to bottom, and ways for its edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Point = tuple[float, float]

ROW_GAP = 38.0
# So far above its box an edge is straight: its number stands there.
LANDING = 20.0
COLUMN_GAP = 26.0
# A long edge is a column of its own beside the boxes.
LANE = 14.0
PORT_GAP = 44.0
SWEEPS = 8
# Boxes that could as well stand in a lower row give way to those on the longest way, and long
# edges to all boxes.
LOOSE_WEIGHT = 0.01
LANE_WEIGHT = 0.0001


@dataclass(frozen=True)
class Layout:
    """Where everything is drawn.

    Args:
        corners: The upper left corner of each box.
        routes: For each edge, its points from box to box: between the first two it goes straight
            down, from there to the next it swings, and so on by turns.
        width: Of all together.
        height: Of all together.
    """

    corners: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass
class _Item:
    """A box, or the place where a long edge passes a row."""

    row: int
    width: float
    weight: float
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    x: float = 0.0


def place_boxes(sizes: Sequence[Point], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes so that every edge goes down, chains are straight and few edges cross.

    Args:
        sizes: Width and height of each box; an edge goes from a box to a later one.
        edges: Pairs of places in `sizes`.
    """
    rows = _choose_rows(len(sizes), edges)
    latest = _choose_latest_rows(rows, edges)
    items = [
        _Item(row, width, 1.0 if row == last else LOOSE_WEIGHT)
        for row, last, (width, _) in zip(rows, latest, sizes, strict=True)
    ]
    ways = _lead_edges(items, edges)
    ordered = _order(items)
    for sweep in range(SWEEPS):
        _align(items, ordered, down=sweep % 2 == 0)
    left = min((item.x - item.width / 2 for item in items), default=0.0)
    for item in items:
        item.x -= left
    tops, bottoms = _stack(items, sizes, ways)
    ports = _ports(items, edges, ways)
    routes = [
        _route(items, way, (tops, bottoms), sizes[source][1], port)
        for (source, _), way, port in zip(edges, ways, ports, strict=True)
    ]
    corners = [(items[n].x - sizes[n][0] / 2, tops[rows[n]]) for n in range(len(sizes))]
    width = max((item.x + item.width / 2 for item in items), default=0.0)
    return Layout(tuple(corners), tuple(routes), width, max(bottoms, default=0.0))


def _choose_rows(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    rows = [0] * count
    for source, target in sorted(edges):
        rows[target] = max(rows[target], rows[source] + 1)
    return rows


def _choose_latest_rows(rows: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    targets = {target for _, target in edges}
    sources = {source for source, _ in edges}
    latest = [row if n in targets - sources else max(rows) for n, row in enumerate(rows)]
    for source, target in sorted(edges, reverse=True):
        latest[source] = min(latest[source], latest[target] - 1)
    return latest


def _lead_edges(items: list[_Item], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return the items that each edge passes; long edges of one box share their lane."""
    lanes: dict[tuple[int, int], int] = {}
    ways = []
    for source, target in edges:
        way = [source]
        for row in range(items[source].row + 1, items[target].row):
            if (source, row) not in lanes:
                lanes[source, row] = len(items)
                items.append(_Item(row, LANE, LANE_WEIGHT))
                _link(items, way[-1], lanes[source, row])
            way.append(lanes[source, row])
        _link(items, way[-1], target)
        ways.append([*way, target])
    return ways


def _link(items: Sequence[_Item], upper: int, lower: int) -> None:
    items[upper].below.append(lower)
    items[lower].above.append(upper)


def _order(items: Sequence[_Item]) -> list[list[int]]:
    """Return the items of each row from left to right: each near the middle of its neighbors."""
    ordered: list[list[int]] = [[] for _ in range(1 + max((i.row for i in items), default=-1))]
    for number, item in enumerate(items):
        ordered[item.row].append(number)
    place = {number: float(at) for row in ordered for at, number in enumerate(row)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in ordered if down else reversed(ordered):
            wanted = {}
            for number in row:
                near = items[number].above if down else items[number].below
                wanted[number] = sum(place[each] for each in near) / len(near) if near else -1.0
            # A row keeps its order where its neighbors have no opinion.
            row.sort(key=lambda number: wanted[number] if wanted[number] >= 0 else place[number])
            place.update({number: float(at) for at, number in enumerate(row)})
    return ordered


def _align(items: Sequence[_Item], ordered: Sequence[Sequence[int]], *, down: bool) -> None:
    """Move each item as near as its row allows to the median of its neighbors."""
    for row in ordered if down else reversed(ordered):
        wanted = []
        for number in row:
            near = items[number].above if down else items[number].below
            wanted.append(_median(items, near) if near else items[number].x)
        for number, x in zip(row, _spread(items, row, wanted), strict=True):
            items[number].x = x


def _median(items: Sequence[_Item], near: Sequence[int]) -> float:
    """Return the weighted median of places; between the middle ones where two share it."""
    ascending = sorted((items[each].x, items[each].weight) for each in near)
    half = sum(weight for _, weight in ascending) / 2
    reached = 0.0
    for at, (x, weight) in enumerate(ascending):
        reached += weight
        if reached > half + 1e-9:
            return x
        if abs(reached - half) <= 1e-9:
            return (x + ascending[at + 1][0]) / 2
    return ascending[-1][0]


def _spread(items: Sequence[_Item], row: Sequence[int], wanted: Sequence[float]) -> list[float]:
    """Return the places nearest to those wanted that keep order and distance.

    Least squares: neighbors that would overlap form blocks, which take their weighted mean.
    """
    shifts = [0.0]
    for left, right in pairwise(row):
        shifts.append(shifts[-1] + (items[left].width + items[right].width) / 2 + COLUMN_GAP)
    blocks: list[tuple[float, float, int]] = []
    for number, x, shift in zip(row, wanted, shifts, strict=True):
        block = (x - shift, items[number].weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, weight, count = blocks.pop()
            total = weight + block[1]
            block = ((mean * weight + block[0] * block[1]) / total, total, count + block[2])
        blocks.append(block)
    flat = [mean for mean, _, count in blocks for _ in range(count)]
    return [x + shift for x, shift in zip(flat, shifts, strict=True)]


def _stack(
    items: Sequence[_Item], sizes: Sequence[Point], ways: Sequence[Sequence[int]]
) -> tuple[list[float], list[float]]:
    """Return the top and the bottom of each row; where edges swing far there is more space."""
    count = 1 + max((item.row for item in items), default=-1)
    heights, swings = [0.0] * count, [0.0] * count
    for number, size in enumerate(sizes):
        heights[items[number].row] = max(heights[items[number].row], size[1])
    for way in ways:
        for upper, lower in pairwise(way):
            row = items[upper].row
            swings[row] = max(swings[row], abs(items[upper].x - items[lower].x))
    tops, bottoms, y = [], [], 0.0
    for height, swing in zip(heights, swings, strict=True):
        tops.append(y)
        bottoms.append(y + height)
        y += height + ROW_GAP + min(40.0, swing / 8)
    return tops, bottoms


def _ports(
    items: Sequence[_Item], edges: Sequence[tuple[int, int]], ways: Sequence[Sequence[int]]
) -> list[float]:
    """Return where each edge reaches its box: side by side, in the order in which they come."""
    arriving: Mapping[int, list[int]] = defaultdict(list)
    for number, (_, target) in enumerate(edges):
        arriving[target].append(number)
    ports = [0.0] * len(edges)
    for target, numbers in arriving.items():
        numbers.sort(key=lambda number: items[ways[number][-2]].x)
        gap = min(PORT_GAP, (items[target].width - 12) / len(numbers))
        for at, number in enumerate(numbers):
            ports[number] = items[target].x + gap * (at - (len(numbers) - 1) / 2)
    return ports


def _route(
    items: Sequence[_Item],
    way: Sequence[int],
    rows: tuple[Sequence[float], Sequence[float]],
    height: float,
    port: float,
) -> tuple[Point, ...]:
    tops, bottoms = rows
    source = items[way[0]]
    points = [(source.x, tops[source.row] + height), (source.x, bottoms[source.row])]
    for number in way[1:-1]:
        item = items[number]
        points += [(item.x, tops[item.row]), (item.x, bottoms[item.row])]
    top = tops[items[way[-1]].row]
    return (*points, (port, top - LANDING), (port, top))
