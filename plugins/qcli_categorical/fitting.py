"""The factor on a value space that brings it nearest to given weights."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_scale(weight: Tensor, values: Tensor, rounds: int = 20) -> Tensor:
    """Return the factor c on a value space that brings it nearest to a weight.

    Alternates the nearest value of every weight / c with the least-squares c for those values.

    Args:
        weight: float32, of any shape.
        values: float32 [K].
        rounds: Alternations at most.

    Returns:
        float32, 0-d, positive.
    """
    flat = weight.flatten()
    edges = values.sort().values
    middles = (edges[1:] + edges[:-1]) / 2
    scale = flat.abs().mean() / values.abs().mean().clamp(min=1e-12)
    for _ in range(rounds):
        nearest = edges[torch.bucketize(flat / scale.clamp(min=1e-12), middles)]
        scale = (flat @ nearest) / (nearest @ nearest).clamp(min=1e-12)
    return scale if bool(scale > 0) else torch.ones_like(scale)
