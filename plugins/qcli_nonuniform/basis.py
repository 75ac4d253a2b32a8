"""The basis of LQ-Nets: where it starts, and the least-squares fit that it follows."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_SAMPLE = 1 << 17


def make_patterns(bits: int, is_weight: bool) -> Tensor:
    """Return every choice of signs for weights, of 0 and 1 for inputs: float64 [2^bits, bits]."""
    ones = (torch.arange(1 << bits).unsqueeze(-1) >> torch.arange(bits)) & 1
    return (2 * ones - 1 if is_weight else ones).double()


def even_basis(length: Tensor, bits: int) -> Tensor:
    """Return the basis of evenly spaced levels, whose values add up to a length.

    Args:
        length: [...].
        bits: How many values the basis has.

    Returns:
        [..., bits], each value twice the one before.
    """
    powers = 2.0 ** torch.arange(bits, device=length.device)
    return length.unsqueeze(-1) * powers / powers.sum()


def solve_basis(rows: Tensor, counts: Tensor, sums: Tensor, basis: Tensor, ridge: float) -> Tensor:
    """Return (B'B + r I)^-1 (B'x + r v), where many values of x share few rows of B.

    Args:
        rows: The rows that differ: float64 [..., K, bits].
        counts: How many values have each: [..., K].
        sums: The sum of those values: [..., K].
        basis: v: [..., bits].
        ridge: r, positive.
    """
    gram = rows.mT @ (counts.unsqueeze(-1) * rows)
    gram = gram + ridge * torch.eye(rows.shape[-1], dtype=rows.dtype, device=rows.device)
    moment = rows.mT @ sums.unsqueeze(-1) + ridge * basis.unsqueeze(-1)
    # Checking whether the matrix is singular, which the ridge rules out, would wait for the device.
    solved: Tensor = torch.linalg.solve_ex(gram, moment).result
    return solved.squeeze(-1)


def thin_out(x: Tensor) -> Tensor:
    """Return some values of a batch: [N]. A few numbers that are fitted many times need no more."""
    # An odd stride meets every column and row of images.
    return x.flatten()[:: (x.numel() // LARGEST_SAMPLE) | 1]
