"""Quantized weights as exporters read them: by the contract of quantizers, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from qcli import Quantizer


@dataclass(frozen=True)
class GridWeight:
    """A weight that lies on a grid: integers * step, bit for bit in float32.

    Args:
        integers: Of the shape of the weight.
        step: float32 [], or [O] along `axis`; above 0.
        axis: Of the output channels.
        low: The least integer that the quantizer can emit.
        high: The greatest.
        is_binary: Whether it can emit nothing but -1 and 1.
    """

    integers: NDArray[np.int64]
    step: NDArray[np.float32]
    axis: int
    low: int
    high: int
    is_binary: bool


@dataclass(frozen=True)
class BookWeight:
    """A weight that lies on no grid: codebook[codes].

    Args:
        codes: Of the shape of the weight.
        codebook: float32 [K], or [O, K] for channels along `axis`.
        axis: Of the output channels.
    """

    codes: NDArray[np.int64]
    codebook: NDArray[np.float32]
    axis: int


def weight_quantizer(module: nn.Module) -> Quantizer | None:
    """Return what quantizes a layer's weight; None: it is float."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    parametrization: Any = module.parametrizations
    quantizer = parametrization.weight[0]
    return quantizer if isinstance(quantizer, Quantizer) and quantizer.quantizes else None


@torch.no_grad()
def read_weight(module: nn.Module, quantizer: Quantizer) -> GridWeight | BookWeight:
    """Return the weight that eval mode uses."""
    parametrization: Any = module.parametrizations
    codes = quantizer.codes(parametrization.weight.original).long()
    axis = quantizer.info.channel_axis
    grid = quantizer.grid()
    if grid is None:
        return BookWeight(codes.numpy(), quantizer.codebook().detach().numpy(), axis)
    levels = (grid.integers - grid.zero_point).long()
    step = grid.step.detach()
    # A channel of zeros may have the step 0, by which no runtime can divide.
    alive = _along(step > 0, codes.dim(), axis)
    integers = torch.where(alive, levels[codes], 0)
    return GridWeight(
        integers.numpy(),
        torch.where(step > 0, step, 1.0).numpy(),
        axis,
        int(levels.min()),
        int(levels.max()),
        levels.tolist() == [-1, 1],
    )


def _along(channels: torch.Tensor, dim: int, axis: int) -> torch.Tensor:
    """Return [] or [O] in a shape that broadcasts over a weight."""
    return channels.reshape([-1 if place == axis else 1 for place in range(dim)])
