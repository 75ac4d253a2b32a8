"""A quantizer as a rounding to multiples of a power of two, proved equal at every boundary.

A code is a step function of a place: of the accumulator, or of a sum of several. Rounding
factor * place + offset is the same function where it makes each step between the last place below
a boundary and the first that reaches it. Every boundary so bounds the offset from two sides; an
offset between all bounds is the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Integers, Quantize

Reals = NDArray[np.float64]

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
    def have_steps(self) -> NDArray[Any]:
        """Which channels have more than one code, [C]."""
        inside = (self.reached > self.low[:, None]) & (self.reached <= self.high[:, None])
        return np.asarray(np.asarray(inside).any(1))

    def pick(self, channels: NDArray[Any]) -> Places:
        """Return those of some channels."""
        return Places(self.reached[channels], self.low[channels], self.high[channels])


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
    factors, shifts = _divide(slopes, places)
    # The ends alone may give a slope that misses a boundary in between by a hair.
    for channel in np.flatnonzero(~_fits(places, factors, shifts)):
        slopes[channel] = _find_slope(places.pick(np.array([channel])))
    return _divide(slopes, places)


def _divide(slopes: Reals, places: Places) -> tuple[Integers, Integers]:
    """Return integers with factor / 2^shift near to a slope, 0 for one code alone."""
    used = np.where(places.have_steps, slopes, 0)
    exponents = np.frexp(used)[1].astype(np.int64)
    largest = 60 - places.reached.shape[1].bit_length()
    shifts = np.where(used > 0, np.clip(FACTOR_BITS - exponents, 1, largest), 1)
    return np.rint(np.ldexp(used, shifts)).astype(np.int64), shifts


def _fits(places: Places, factors: Integers, shifts: Integers) -> NDArray[Any]:
    """Whether some offset makes rounding down right, by channel."""
    least, most = _bound_offsets(_find_starts(places, shifts, "up"), places, factors)
    fits: NDArray[Any] = least <= most
    return fits


def _find_slope(places: Places) -> float:
    """Return the mean of the flattest and the steepest line through the steps of a channel.

    From a place that reaches code i to the last one that misses code j the line rises by less than
    j - i; from the last one that misses i to a place that reaches j by more.
    """
    reached = places.reached[0]
    reaches = np.flatnonzero(reached <= places.high)
    misses = np.flatnonzero(reached > places.low)
    rise = misses - reaches[:, None]
    run = reached[misses] - 1 - reached[reaches][:, None]
    rising = (rise > 0) & (run > 0)
    steepest = np.divide(rise, run, where=rising, out=np.full(rise.shape, np.inf)).min()
    # Seen from the other end, both are negative.
    falling = (rise <= 0) & (run < 0)
    flattest = np.divide(rise, run, where=falling, out=np.zeros(rise.shape)).max()
    return float(flattest + steepest) / 2 if np.isfinite(steepest) else float(flattest) * 2


def scale_sums(node: Quantize, places: Places) -> tuple[Integers, Integers]:
    """Return factors and shifts [C] for sums t, whose boundaries may be powers of two apart."""
    shifts = np.rint(np.log2(_find_distances(node))).astype(np.int64)
    return np.ones_like(shifts), np.where(places.have_steps, np.clip(shifts, 1, 61), 1)


def _find_distances(node: Quantize) -> Reals:
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
    num_codes = places.reached.shape[1] + 1.0
    reach = factors * np.maximum(np.abs(places.low), np.abs(places.high)).astype(np.float64)
    if (np.maximum(num_codes * np.ldexp(1.0, shifts), reach) >= LARGEST_TERM).any():
        return None
    for ties in TIES:
        least, most = _bound_offsets(_find_starts(places, shifts, ties), places, factors)
        offsets = np.where(least > -UNREACHABLE, least, most)
        if (least <= most).all() and (reach + np.abs(offsets) < LARGEST_TERM).all():
            return Rounding(factors, offsets, shifts, ties)
    return None


def _find_starts(places: Places, shifts: Integers, ties: str) -> Integers:
    """Return where rounding reaches each code, [C, K - 1]."""
    codes = np.arange(1, places.reached.shape[1] + 1)
    starts: Integers = codes << shifts[:, None]
    if ties != "up":
        starts = starts - (1 << (shifts[:, None] - 1)) + (codes % 2 == (ties == "even"))
    return starts


def _bound_offsets(
    starts: Integers, places: Places, factors: Integers
) -> tuple[Integers, Integers]:
    """Return the least and the greatest offset of each channel."""
    low, high, factor = places.low[:, None], places.high[:, None], factors[:, None]
    is_reached, is_missed = places.reached <= high, places.reached > low
    least = np.where(is_reached, starts - factor * places.reached, -UNREACHABLE)
    most = np.where(is_missed, starts - 1 - factor * (places.reached - 1), UNREACHABLE)
    return least.max(1), most.min(1)
