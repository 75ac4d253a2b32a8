"""Round the affine of a real value to dyadic integers, once: the only rounding of deployment.

Source: the exact form of integer requantization; a multiplier keeps 31 bits in every channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qcli.deployment.graph import Integers

Reals = NDArray[np.float64]

# A boundary of this size is never reached, its negative always: |t| stays below it.
FAR = 1 << 62
MULTIPLIER_BITS = 31


def read_numbers(tensor: Any) -> Reals:
    """Return a tensor's numbers as they are, in float64."""
    numbers: Reals = tensor.detach().cpu().double().numpy()
    return numbers


@dataclass(frozen=True)
class Dyadic:
    """t = sum over j of multipliers[j] * I_j + bias is the real value times 2^shift.

    Args:
        multipliers: [J, C].
        bias: [C].
        shift: [C].
    """

    multipliers: Integers
    bias: Integers
    shift: Integers


def round_affine(
    factors: Reals, offset: Reals, magnitudes: Reals, *, shared: bool = False
) -> Dyadic:
    """Round the numbers of an affine to integers over powers of two.

    Args:
        factors: [J, C], of each operand.
        offset: [C].
        magnitudes: [J], the greatest |I_j|.
        shared: Whether all channels have one shift, so that they compare.
    """
    largest = np.abs(factors).max(0)
    reach = np.abs(factors).T @ magnitudes + np.abs(offset)
    if shared:
        largest, reach = np.full_like(largest, largest.max()), np.full_like(reach, reach.max())
    shift = np.minimum(MULTIPLIER_BITS - _exponent(largest), 60 - _exponent(reach))
    shift = np.where((largest == 0) & (reach == 0), 0, shift)
    most = float((1 << MULTIPLIER_BITS) - 1)
    return Dyadic(
        np.clip(np.rint(np.ldexp(factors, shift)), -most, most).astype(np.int64),
        np.rint(np.ldexp(offset, shift)).astype(np.int64),
        shift.astype(np.int64),
    )


def _exponent(positive: Reals) -> NDArray[np.int64]:
    """Return e with x < 2^e; of 0 a number that bounds nothing."""
    exponent = np.frexp(positive)[1].astype(np.int64)
    return np.where(positive == 0, -200, exponent)


@dataclass(frozen=True)
class Midpoints:
    """Where a real number, rounded to float32, reaches the next code.

    Args:
        points: float64 [K - 1], ascending; +-inf: never, or always reached.
        inclusive: bool [K - 1]: whether the point itself reaches it.
    """

    points: Reals
    inclusive: NDArray[np.bool_]


def find_midpoints(tau: Reals, strict: NDArray[np.bool_]) -> Midpoints:
    """Return the real boundaries of a quantizer whose input is rounded to float32.

    The quantizer compares float32 numbers: a real value reaches a code where the float32 nearest
    to it does, from the midpoint below the first such float32 on; at the midpoint itself the even
    one of its neighbors decides.

    Args:
        tau: float64 [K - 1], as `qcli.Thresholds` has them.
        strict: bool [K - 1].
    """
    first = tau.astype(np.float32)
    below = first.astype(np.float64) < tau
    above = strict & (first.astype(np.float64) == tau)
    with np.errstate(over="ignore"):
        first = np.where(below | above, np.nextafter(first, np.float32(np.inf)), first)
        previous = np.nextafter(first, np.float32(-np.inf)).astype(np.float64)
    never = np.isinf(tau) & (tau > 0)
    points = np.where(never, np.inf, (previous + first.astype(np.float64)) / 2)
    even = (first.view(np.int32) & 1) == 0
    return Midpoints(points, even)


def scale_boundaries(midpoints: Reals, inclusive: NDArray[np.bool_], shift: Integers) -> Integers:
    """Return the boundaries of t: int64 [C, K - 1].

    Args:
        midpoints: [C, K - 1] or [1, K - 1].
        inclusive: [K - 1].
        shift: [C].
    """
    scaled = np.ldexp(midpoints, shift[:, None])
    bounded = np.clip(scaled, -float(FAR), float(FAR))
    whole = np.where(inclusive, np.ceil(bounded), np.floor(bounded))
    inside = np.abs(bounded) < FAR
    # The next integer is taken in int64: above 2^53 a float64 has no room for it.
    safe = np.where(inside, whole, 0).astype(np.int64) + ~inclusive
    return np.where(inside, safe, np.where(bounded > 0, FAR, -FAR))
