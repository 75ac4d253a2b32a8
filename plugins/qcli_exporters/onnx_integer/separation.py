"""Lines that separate what has reached a code from what has not, whatever then computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.boundaries import find_steps
from qcli.deployment.graph import Integers, Quantize, Tensor

Reals = NDArray[np.float64]

MOST_POINTS = 1 << 24
MOST_CODES = 512
UNREACHABLE = 1 << 62


@dataclass(frozen=True)
class Points:
    """Numbers that the operands can hold, and a code of each.

    Args:
        numbers: [J, P].
        codes: [P].
    """

    numbers: Integers
    codes: Integers


@dataclass(frozen=True)
class Sides:
    """The points on both sides of every boundary of one channel.

    A function that never falls where t rises, rounded down, gives the channel's codes if it is at
    least the code in each point of `reached`, and below it in each of `missed`; for two operands
    the points lie along the wider one, for each number of the other.
    """

    reached: Points
    missed: Points


def trim_levels(node: Quantize) -> Quantize:
    """Leave out the levels below or above which no channel ever is, as those above 6 of a ReLU6.

    Two levels at least are kept.
    """
    count = node.boundaries.shape[1]
    always = int((node.boundaries <= -UNREACHABLE).all(0).sum())
    never = int((node.boundaries >= UNREACHABLE).all(0).sum())
    first = min(always, count - 1)
    last = max(count - never, first + 1)
    return replace(
        node, boundaries=node.boundaries[:, first:last], levels=node.levels[first : last + 1]
    )


def step_of(levels: Integers) -> int | None:
    """Return the distance of neighboring levels; None: it varies."""
    distances = np.unique(np.diff(levels))
    return int(distances[0]) if len(distances) == 1 else None


def is_separable(node: Quantize, operands: Sequence[Tensor]) -> bool:
    """Tell whether a line may give the codes, and the proof of it is of bearable length."""
    narrow = min(each.high - each.low + 1 for each in operands) if len(operands) > 1 else 1
    short = narrow * node.boundaries.size <= MOST_POINTS
    return len(operands) <= 2 and short and step_of(node.levels) is not None


def find_sides(node: Quantize, operands: Sequence[Tensor], channel: int, slack: int = 0) -> Sides:
    """Find the points of a channel.

    Args:
        node: A quantization of one or two operands.
        operands: What it counts, with their ranges.
        channel: Which.
        slack: By how much a code may be too low.
    """
    wide = max(range(len(operands)), key=lambda j: operands[j].high - operands[j].low)
    factors, operand = node.multipliers[:, channel], operands[wide]
    others = [each for j, each in enumerate(operands) if j != wide]
    other = np.arange(others[0].low, others[0].high + 1) if others else np.zeros(1, np.int64)
    # Each number of the other operand makes a quantization of one operand, with its own bias.
    alone = replace(
        node,
        multipliers=np.full((1, len(other)), factors[wide]),
        bias=node.bias[channel] + other * (factors[1 - wide] if others else 0),
        boundaries=np.broadcast_to(node.boundaries[channel], (len(other), len(node.levels) - 1)),
    )
    steps = find_steps(alone, operand)
    sign = int(steps.signs[0])
    low, high = sorted((sign * operand.low, sign * operand.high))
    grid: Integers = np.indices(steps.thresholds.shape)
    rows, places = grid[0], grid[1]

    def points(kept: NDArray[np.bool_], back: int, lower: int) -> Points:
        along = sign * (steps.thresholds[kept] - back)
        numbers = [other[rows[kept]]] * len(operands)
        numbers[wide] = along
        return Points(np.stack(numbers), places[kept] + 1 - lower)

    reached = (steps.thresholds <= high) & (places >= slack)
    return Sides(points(reached, 0, slack), points(steps.thresholds > low, 1, 0))


def find_slopes(node: Quantize, sides: Sides, channel: int) -> Reals | None:
    """Return the slope for each operand of the line amid those that separate: [J].

    A line separates where it rises by more than k - j from each missed (x, j) to each reached
    (y, k). Of many codes some are left out: who uses the slopes proves them in every point.
    """
    factors, count = node.multipliers[:, channel], len(node.levels) - 1
    far = np.iinfo(np.int64)
    right, left = np.full(count, far.max, np.int64), np.full(count, far.min, np.int64)
    np.minimum.at(right, sides.reached.codes - 1, factors @ sides.reached.numbers)
    np.maximum.at(left, sides.missed.codes - 1, factors @ sides.missed.numbers)
    codes: Integers = np.arange(0, count, count // MOST_CODES + 1)
    upper, lower = codes[right[codes] < far.max], codes[left[codes] > far.min]
    run = (right[upper][:, None] - left[lower]).astype(np.float64)
    rise = (upper[:, None] - lower).astype(np.float64)
    slope = _amid_ratios(run, rise)
    return None if slope is None else factors.astype(np.float64) * slope


def _amid_ratios(run: Reals, rise: Reals) -> float | None:
    ahead, behind = run > 0, run < 0
    least = float(np.max(rise[ahead] / run[ahead], initial=0))
    most = float(np.min(rise[behind] / run[behind], initial=np.inf))
    if least >= most:
        return None
    if np.isfinite(most):
        return (least + most) / 2
    return 2 * least or float(np.max(1 / run[ahead], initial=0))


def find_offset(sides: Sides, slopes: NDArray[Any]) -> float:
    """Return the offset amid those with which the line separates best."""
    least = np.max(_residuals(sides.reached, slopes), initial=-np.inf)
    most = np.min(_residuals(sides.missed, slopes), initial=np.inf)
    if not np.isfinite(least):
        return float(most - 0.5)
    return float((least + most) / 2) if np.isfinite(most) else float(least + 0.5)


def _residuals(points: Points, slopes: NDArray[Any]) -> Reals:
    rest: Reals = points.codes - slopes.astype(np.float64) @ points.numbers
    return rest
