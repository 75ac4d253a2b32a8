"""The levels of QNN's log scheme: powers of two, the nearest of which is found by comparing.

float32 has no number at 2^(e + 1/2), where rne(log2|x|) changes: comparing is exact where log2 is
not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def count_powers(bits: int, signed: bool) -> int:
    """Return how many powers of two there are of each sign."""
    return 1 << bits - 1 if signed else (1 << bits) - 1


def make_powers(bits: int, signed: bool) -> tuple[Tensor, Tensor]:
    """Return the levels in rising order, and the edges between magnitudes.

    Args:
        bits: The width of a code.
        signed: Whether each power comes with either sign; else 0 is the lowest level.

    Returns:
        Levels, float32 [2^bits]; edges, float32, that a magnitude has to exceed.
    """
    lowest = 1 - count_powers(bits, signed)
    powers = torch.tensor([2.0**exponent for exponent in range(lowest, 1)])
    below = -powers.flip(0) if signed else torch.zeros(1)
    first = lowest if signed else lowest - 1
    edges = torch.tensor([2.0 ** (exponent + 0.5) for exponent in range(first, 0)])
    return torch.cat([below, powers]), edges


def find_power(x: Tensor, edges: Tensor, signed: bool) -> Tensor:
    """Return the int32 index of the level of each x."""
    if not signed:
        return torch.bucketize(x, edges, out_int32=True)
    power = torch.bucketize(x.abs(), edges, out_int32=True)
    num_powers = len(edges) + 1
    return torch.where(x >= 0, num_powers + power, num_powers - 1 - power)
