"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "".join(map(chr, range(0x2581, 0x2589)))
ASCII = "_.-~=+*#"


def draw_sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Draw numbers as characters of eight heights, lowest to highest; gaps where they are NaN.

    Args:
        values: The numbers; more than `width` are averaged in groups of neighbors.
        width: The most characters to draw.
        ascii_only: Whether the terminal knows no block characters.
    """
    marks = ASCII if ascii_only else BLOCKS
    groups = _group(values, width)
    finite = [value for value in groups if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(
        marks[round((value - low) / span * (len(marks) - 1))] if math.isfinite(value) else " "
        for value in groups
    )


def _group(values: Sequence[float], width: int) -> list[float]:
    count = min(len(values), width)
    edges = [len(values) * place // count for place in range(count + 1)] if count else [0]
    return [sum(values[first:last]) / (last - first) for first, last in pairwise(edges)]
