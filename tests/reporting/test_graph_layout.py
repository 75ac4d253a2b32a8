"""Boxes do not overlap, edges go down and around them, chains are straight."""

import random
from itertools import pairwise

import pytest

from qcli.reporting.graph_layout import place_boxes

SIZE = (200.0, 50.0)
# Two residual blocks of two layers; the first box is the image.
RESIDUAL = [(0, 1), (1, 2), (2, 3), (1, 3), (3, 4), (4, 5), (5, 6), (4, 6)]
INCEPTION = [(0, n) for n in (1, 2, 3, 4)] + [(2, 5), (3, 6), (4, 7)]
INCEPTION += [(n, 8) for n in (1, 5, 6, 7)]


def random_edges(seed):
    draw = random.Random(seed)
    count = draw.randint(2, 25)
    edges = {(draw.randrange(target), target) for target in range(1, count)}
    return sorted(edges | {tuple(sorted(draw.sample(range(count), 2))) for _ in range(count)})


def test_a_residual_chain_is_straight():
    layout = place_boxes([SIZE] * 7, RESIDUAL)
    lefts = [x for x, _ in layout.corners]
    assert max(lefts) - min(lefts) < 1
    tops = [y for _, y in layout.corners]
    assert tops == sorted(set(tops))
    # The way around the two layers passes beside them.
    around = layout.routes[3]
    assert min(abs(x - lefts[2] - 100) for x, _ in around[2:-2]) > 100


def test_branches_stand_side_by_side():
    layout = place_boxes([SIZE] * 9, INCEPTION)
    assert len({y for _, y in layout.corners}) == 4
    assert len({x for x, _ in layout.corners[1:5]}) == 4
    for upper, lower in ((2, 5), (3, 6), (4, 7)):
        assert layout.corners[upper][0] == pytest.approx(layout.corners[lower][0], abs=1)
    arriving = [route[-1][0] for route in layout.routes[-4:]]
    assert arriving == sorted(arriving)
    assert min(b - a for a, b in pairwise(arriving)) > 20


@pytest.mark.parametrize("seed", range(20))
def test_nothing_covers_anything(seed):
    edges = random_edges(seed)
    draw = random.Random(seed)
    count = 1 + max(target for _, target in edges)
    sizes = [(draw.uniform(150, 300), draw.uniform(20, 80)) for _ in range(count)]
    layout = place_boxes(sizes, edges)
    boxes = [(*corner, *size) for corner, size in zip(layout.corners, sizes, strict=True)]
    for number, (x, y, width, height) in enumerate(boxes):
        assert min(x, y) >= -1e-6
        assert x + width <= layout.width + 1e-6
        assert y + height <= layout.height + 1e-6
        for left, top, across, down in boxes[:number]:
            apart = x >= left + across or left >= x + width or y >= top + down or top >= y + height
            assert apart
    for (source, target), route in zip(edges, layout.routes, strict=True):
        x, y, width, height = boxes[source]
        assert route[0] == (pytest.approx(x + width / 2), pytest.approx(y + height))
        x, y, width, _ = boxes[target]
        assert x < route[-1][0] < x + width
        assert route[-1][1] == pytest.approx(y)
        heights = [point[1] for point in route]
        assert heights == sorted(heights)
        for (at, top), (_, bottom) in zip(route[::2], route[1::2], strict=False):
            crossed = [
                (x, y)
                for x, y, width, height in boxes
                if x < at < x + width and y < bottom and top < y + height
            ]
            assert crossed == []
