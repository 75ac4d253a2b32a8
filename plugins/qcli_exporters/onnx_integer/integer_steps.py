"""Codes by multiplication, addition and one division of integers, where that is proved equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qcli.deployment.graph import Integers, Quantize, Tensor
from qcli_exporters.onnx_integer.separation import (
    Reals,
    Sides,
    find_offset,
    find_sides,
    find_slopes,
    is_separable,
)

WIDTHS = {"int32": 31, "int64": 62}
CODE_BITS = 31


@dataclass(frozen=True)
class IntegerSteps:
    """code = clip((sum of multipliers[j, c] * I_j + biases[c]) / divisors[c], 0, K - 1).

    The division drops the fraction. Nothing that is computed exceeds the type, nor a quotient
    int32.

    Args:
        multipliers: [J, C].
        biases: [C].
        divisors: [C], powers of two.
        dtype: `int32` or `int64`.
    """

    multipliers: Integers
    biases: Integers
    divisors: Integers
    dtype: str


def find_integer_steps(
    node: Quantize, operands: Sequence[Tensor], slack: int = 0
) -> IntegerSteps | None:
    """Find integers that give the code of all numbers that the operands can hold.

    Args:
        node: The quantization.
        operands: What it counts, with their ranges.
        slack: By how much a code may be too low.

    Returns:
        None where no such integers were found, as where ties are rounded to even.
    """
    if not is_separable(node, operands):
        return None
    for dtype in WIDTHS:
        steps = _find(node, operands, dtype, slack)
        if steps is not None:
            return steps
    return None


def _find(
    node: Quantize, operands: Sequence[Tensor], dtype: str, slack: int
) -> IntegerSteps | None:
    channels = len(node.bias)
    multipliers = np.zeros((len(operands), channels), np.int64)
    biases, divisors = np.zeros(channels, np.int64), np.ones(channels, np.int64)
    reach = np.array([max(-each.low, each.high) for each in operands], np.int64)
    for channel in range(channels):
        sides = find_sides(node, operands, channel, slack)
        slopes = find_slopes(node, sides, channel)
        shift = None if slopes is None else _find_shift(sides, slopes, reach, WIDTHS[dtype])
        if slopes is None or shift is None:
            return None
        factors = np.rint(np.ldexp(slopes, shift)).astype(np.int64)
        bias = _find_bias(sides, factors, shift)
        if bias is None or int(np.abs(factors) @ reach) + abs(bias) >= 1 << WIDTHS[dtype]:
            return None
        multipliers[:, channel], biases[channel], divisors[channel] = factors, bias, 1 << shift
    return IntegerSteps(multipliers, biases, divisors, dtype)


def _find_shift(sides: Sides, slopes: Reals, reach: Integers, width: int) -> int | None:
    """Return the greatest shift with which the sums fit; None: codes would not."""
    most = float(np.abs(slopes) @ reach) + abs(find_offset(sides, slopes))
    most += int(max(sides.reached.codes.max(initial=0), sides.missed.codes.max(initial=0)))
    if most >= 1 << (CODE_BITS - 1):
        return None
    shift = width - 1 - int(np.ceil(np.log2(most)))
    return shift if shift >= 0 else None


def _find_bias(sides: Sides, factors: Integers, shift: int) -> int | None:
    """Return the number amid those that separate: exact integers, so that they are the proof."""
    reached, missed = sides.reached, sides.missed
    least = (reached.codes << shift) - factors @ reached.numbers
    most = (missed.codes << shift) - 1 - factors @ missed.numbers
    if not len(least):
        return int(most.min())
    if not len(most):
        return int(least.max())
    low, high = int(least.max()), int(most.min())
    return (low + high) // 2 if low <= high else None
