"""A quantizer as a rounding to multiples of a power of two, proved equal at every boundary.

A code is a step function of u, the sum without its offset. Rounding u + offset gives the same one
where it makes each step between the last u below a boundary and the first u that reaches it. Every
boundary so bounds the offset from two sides; an offset between all bounds is the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Integers, Quantize

TIES = ("up", "even", "odd")
# Of what is added, so that no sum leaves 64 bits.
LARGEST_TERM = 1 << 61
UNREACHABLE = 1 << 62


@dataclass(frozen=True)
class Rounding:
    """code = (u + offset) / 2^shift, rounded and clamped.

    Args:
        offsets: [C].
        shifts: [C], 1 to 61.
        ties: "up": round down to a whole number; "even", "odd": round to the nearest one, and a tie
            to the even or the odd one.
    """

    offsets: Integers
    shifts: Integers
    ties: str


def fit_rounding(
    node: Quantize, reached: Integers, unit: Integers, low: Integers, high: Integers
) -> Rounding | None:
    """Return a rounding that equals the boundaries for every sum that can be.

    Args:
        node: The quantization.
        reached: [C, K - 1], the first place that reaches a boundary; high + 1: none does.
        unit: [C]; u = unit * place.
        low: [C], the first place that can be.
        high: [C], the last.
    """
    inside: NDArray[Any] = (reached > low[:, None]) & (reached <= high[:, None])
    shifts = _find_shifts(node, inside)
    codes = np.arange(1, node.boundaries.shape[1] + 1)
    if ((len(codes) + 1.0) * np.ldexp(1.0, shifts) >= LARGEST_TERM).any():
        return None
    for ties in TIES:
        # Where rounding reaches each code.
        starts = codes << shifts[:, None]
        if ties != "up":
            starts = starts - (1 << (shifts[:, None] - 1)) + (codes % 2 == (ties == "even"))
        offsets = _fit_offsets(starts, reached, unit, low, high)
        if offsets is not None:
            return Rounding(offsets, shifts, ties)
    return None


def _find_shifts(node: Quantize, inside: NDArray[Any]) -> Integers:
    """Return the binary logarithm of the distance of neighboring boundaries, [C]."""
    finite = np.abs(node.boundaries) < UNREACHABLE
    count = finite.sum(1)
    first = finite.argmax(1)
    rows = np.arange(len(count))
    ends = node.boundaries[rows, first], node.boundaries[rows, first + np.maximum(count, 1) - 1]
    distance = (ends[1].astype(np.float64) - ends[0]) / np.maximum(count - 1, 1)
    measured = np.rint(np.log2(np.maximum(distance, 1))).astype(np.int64)
    shifts = np.where(count > 1, measured, node.shift)
    # Where a channel has one code alone any shift will do.
    return np.where(inside.any(1), np.clip(shifts, 1, 61), 1)


def _fit_offsets(
    starts: Integers, reached: Integers, unit: Integers, low: Integers, high: Integers
) -> Integers | None:
    is_reached, is_missed = reached <= high[:, None], reached > low[:, None]
    factor = unit[:, None]
    least = np.where(is_reached, starts - factor * reached, -UNREACHABLE).max(1)
    most = np.where(is_missed, starts - 1 - factor * (reached - 1), UNREACHABLE).min(1)
    offsets: Integers = np.where(least > -UNREACHABLE, least, most)
    reach = unit * np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    if (least > most).any() or (reach + np.abs(offsets) >= LARGEST_TERM).any():
        return None
    return offsets
