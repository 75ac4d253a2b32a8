"""Codebooks as sums of integer planes, for those that lie on no grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qcli.quantization.grid import Grid

MOST_PLANES = 16


@dataclass(frozen=True)
class Planes:
    """A codebook as a sum of integer planes: value = sum_j steps[j] * integers[code, j].

    A sum of products with such values is a sum of integer sums, each times one step.

    Args:
        steps: float64 [J], or [O, J] for steps of each channel.
        integers: int32 [K, J], in the order of the codes; or [O, K, J] where channels differ.
    """

    steps: Tensor
    integers: Tensor

    def values(self) -> Tensor:
        """Return the codebook, summed in float64 and rounded once: float32 [K], or [O, K]."""
        return (self.integers * self.steps.unsqueeze(-2)).sum(-1).float()


def grid_plane(grid: Grid) -> Planes:
    """Return the one plane of a grid."""
    integers = (grid.integers - grid.zero_point).unsqueeze(-1)
    return Planes(grid.step.double().unsqueeze(-1), integers)


def mask_planes(values: Tensor) -> Planes | None:
    """Return a plane of zeros and a single one for every code that is not 0 throughout.

    Args:
        values: float32 [K], or [O, K].

    Returns:
        The planes, or None where more than 16 would be needed.
    """
    filled = values != 0 if values.dim() == 1 else values.any(0)
    if filled.sum() > MOST_PLANES:
        return None
    masks = torch.eye(len(filled), dtype=torch.int32, device=values.device)
    return Planes(values[..., filled].double(), masks[:, filled])
