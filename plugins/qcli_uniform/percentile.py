"""Percentiles of tensors of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Older releases of torch refuse to take the quantile of more numbers than this.
LARGEST_SAMPLE = 1 << 24


def mirrored_percentiles(x: Tensor, percentile: float) -> tuple[Tensor, Tensor]:
    """Return the (100 - percentile)th and the percentile-th percentile, between which most lies.

    Args:
        x: Float32 of any shape; evenly spaced numbers stand for one of more than 2^24.
        percentile: 50..100.
    """
    flat = x.flatten()
    flat = flat[:: math.ceil(flat.numel() / LARGEST_SAMPLE)]
    shares = torch.tensor([1 - percentile / 100, percentile / 100], device=x.device)
    low, high = torch.quantile(flat, shares)
    return low, high
