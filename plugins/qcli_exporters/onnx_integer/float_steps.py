"""Codes by one multiplication and one addition of floats, where that is proved equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Quantize, Tensor
from qcli_exporters.onnx_integer.separation import (
    Points,
    Sides,
    find_offset,
    find_sides,
    find_slopes,
    is_separable,
    step_of,
)

Floats = NDArray[Any]

ROUNDINGS = {"Floor": np.floor, "Round": np.rint}
EXACT = {"float32": 1 << 24, "float64": 1 << 53}


@dataclass(frozen=True)
class FloatSteps:
    """code + base = clip(rounding(sum of slopes[j, c] * I_j + offsets[c]), base, base + K - 1).

    Each product and each sum is rounded by itself, to the type of the slopes.

    Args:
        slopes: [J, C], float32 or float64.
        offsets: [C], of the same type.
        rounding: `Floor`, or `Round`: half to even.
        base: What code 0 is rounded to.
    """

    slopes: Floats
    offsets: Floats
    rounding: str
    base: int


@dataclass(frozen=True)
class Line:
    """The numbers of one channel."""

    slopes: Floats
    offset: float


Find = Callable[[Quantize, Sides, int, str], Line | None]


def find_float_steps(
    node: Quantize, operands: Sequence[Tensor], slack: int = 0
) -> FloatSteps | None:
    """Find floats that give the code of all numbers that the operands can hold.

    Args:
        node: The quantization.
        operands: What it counts, with their ranges.
        slack: By how much a code may be too low.

    Returns:
        None where no such floats were found.
    """
    if not is_separable(node, operands):
        return None
    reach = max(max(-each.low, each.high) for each in operands)
    for dtype, exact in EXACT.items():
        for find, rounding in ((_fit, "Floor"), (_divide, "Round")):
            if reach < exact:
                steps = _start(node, len(operands), rounding, dtype)
                if steps is not None and _prove(steps, node, operands, find, slack):
                    return steps
    return None


def _start(node: Quantize, count: int, rounding: str, dtype: str) -> FloatSteps | None:
    base, channels = _base(node, rounding), len(node.bias)
    if base is None:
        return None
    return FloatSteps(np.zeros((count, channels), dtype), np.zeros(channels, dtype), rounding, base)


def _prove(
    steps: FloatSteps, node: Quantize, operands: Sequence[Tensor], find: Find, slack: int
) -> bool:
    """Set each channel's numbers and compute both sides of its boundaries as a runtime will."""
    for channel in range(len(steps.offsets)):
        sides = find_sides(node, operands, channel, slack)
        line = find(node, sides, channel, str(steps.slopes.dtype))
        if line is None:
            return False
        steps.slopes[:, channel] = line.slopes
        steps.offsets[channel] = line.offset
        high = evaluate(steps, channel, sides.reached) >= sides.reached.codes
        low = evaluate(steps, channel, sides.missed) < sides.missed.codes
        if not (high.all() and low.all()):
            return False
    return True


def evaluate(steps: FloatSteps, channel: int, points: Points) -> Floats:
    """Compute the codes of points, not clipped, in the arithmetic of a runtime."""
    slopes = steps.slopes[:, channel, None]
    terms = points.numbers.astype(slopes.dtype) * slopes
    total = terms[0] if len(terms) == 1 else terms[0] + terms[1]
    rounded = ROUNDINGS[steps.rounding](total + steps.offsets[channel])
    codes: Floats = rounded - steps.base
    return codes


def _base(node: Quantize, rounding: str) -> int | None:
    """Return what code 0 is rounded to; None: half to even is for levels on a grid alone."""
    neighbors = step_of(node.levels) == 1
    if rounding == "Round" and (node.step is None or not neighbors):
        return None
    return int(node.levels[0]) if neighbors else 0


def _fit(node: Quantize, sides: Sides, channel: int, dtype: str) -> Line | None:
    """Take the line amid those that separate."""
    slopes = find_slopes(node, sides, channel)
    if slopes is None:
        return None
    rounded = slopes.astype(dtype)
    return Line(rounded, find_offset(sides, rounded) + (_base(node, "Floor") or 0))


def _divide(node: Quantize, sides: Sides, channel: int, dtype: str) -> Line | None:
    """Take the node's own numbers in units of a level: exact where many values are ties."""
    assert node.step is not None
    unit = np.ldexp(node.step, int(node.shift[channel]))
    slopes = (node.multipliers[:, channel] / unit).astype(dtype)
    return Line(slopes, float(node.bias[channel] / unit))
