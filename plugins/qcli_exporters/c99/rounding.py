"""A quantizer as a rounding to multiples of a power of two, proved equal at every boundary.

A code is a step function of a place: of the accumulator, or of a sum of several. Rounding
factor * place + offset is the same function where it makes each step between the last place below
a boundary and the first that reaches it. Every boundary so bounds the offset from two sides; an
offset between all bounds is the proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Integers, Quantize

TIES = ("up", "even", "odd")
FACTOR_BITS = 30
# Of what is added, so that no sum leaves 64 bits.
LARGEST_TERM = 1 << 61
UNREACHABLE = 1 << 62


@dataclass(frozen=True)
class Places:
    """Where codes begin.

    Args:
        reached: [C, K - 1], the first place that reaches a boundary; high + 1: none does.
        low: [C], the first place that can be.
        high: [C], the last.
    """

    reached: Integers
    low: Integers
    high: Integers

    @property
    def have_steps(self) -> Integers:
        """Which channels have more than one code: [C], 0 or 1."""
        inside = (self.reached > self.low[:, None]) & (self.reached <= self.high[:, None])
        return inside.max(1).astype(np.int64)


@dataclass(frozen=True)
class Rounding:
    """code = (factor * place + offset) / 2^shift, rounded and clamped.

    Args:
        factors: [C].
        offsets: [C].
        shifts: [C], 1 to 61.
        ties: "up": round down to a whole number; "even", "odd": round to the nearest one, and a tie
            to the even or the odd one.
    """

    factors: Integers
    offsets: Integers
    shifts: Integers
    ties: str


def scale_places(node: Quantize, places: Places) -> tuple[Integers, Integers]:
    """Return factors and shifts [C] that make the accumulator of one operand a code."""
    slopes = np.abs(node.multipliers[0]) / _find_distances(node)
    slopes = np.where(places.have_steps, slopes, 0)
    exponents = np.frexp(slopes)[1].astype(np.int64)
    largest = 60 - places.reached.shape[1].bit_length()
    shifts = np.where(slopes > 0, np.clip(FACTOR_BITS - exponents, 1, largest), 1)
    return np.rint(np.ldexp(slopes, shifts)).astype(np.int64), shifts


def scale_sums(node: Quantize, places: Places) -> tuple[Integers, Integers]:
    """Return factors and shifts [C] for sums t, whose boundaries may be powers of two apart."""
    shifts = np.rint(np.log2(_find_distances(node))).astype(np.int64)
    return np.ones_like(shifts), np.where(places.have_steps, np.clip(shifts, 1, 61), 1)


def _find_distances(node: Quantize) -> NDArray[np.float64]:
    """Return the mean distance of neighboring boundaries, [C]."""
    finite = np.abs(node.boundaries) < UNREACHABLE
    count = finite.sum(1)
    first = finite.argmax(1)
    rows = np.arange(len(count))
    last = first + np.maximum(count, 1) - 1
    width = node.boundaries[rows, last].astype(np.float64) - node.boundaries[rows, first]
    whole = np.ldexp(1.0, node.shift)
    return np.where((count > 1) & (width > 0), width / np.maximum(count - 1, 1), whole)


def fit_rounding(places: Places, factors: Integers, shifts: Integers) -> Rounding | None:
    """Return a rounding that finds the same codes as the boundaries at every place."""
    codes = np.arange(1, places.reached.shape[1] + 1)
    if ((len(codes) + 1.0) * np.ldexp(1.0, shifts) >= LARGEST_TERM).any():
        return None
    for ties in TIES:
        # Where rounding reaches each code.
        starts = codes << shifts[:, None]
        if ties != "up":
            starts = starts - (1 << (shifts[:, None] - 1)) + (codes % 2 == (ties == "even"))
        offsets = _fit_offsets(starts, places, factors)
        if offsets is not None:
            return Rounding(factors, offsets, shifts, ties)
    return None


def _fit_offsets(starts: Integers, places: Places, factors: Integers) -> Integers | None:
    low, high, factor = places.low[:, None], places.high[:, None], factors[:, None]
    is_reached, is_missed = places.reached <= high, places.reached > low
    least = np.where(is_reached, starts - factor * places.reached, -UNREACHABLE).max(1)
    most = np.where(is_missed, starts - 1 - factor * (places.reached - 1), UNREACHABLE).min(1)
    offsets: Integers = np.where(least > -UNREACHABLE, least, most)
    reach = factors * np.maximum(np.abs(places.low), np.abs(places.high)).astype(np.float64)
    if (least > most).any() or (reach + np.abs(offsets) >= LARGEST_TERM).any():
        return None
    return offsets
