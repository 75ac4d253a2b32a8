"""Quantizers of activations as exporters read them: by the contract, whatever the method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from qcli import Quantizer

# Methods compute x / step or x * (1 / step): their boundaries differ by a few units in the last
# place of float32.
_BOUNDARY_TOLERANCE = 4 * 2.0**-23


@dataclass(frozen=True)
class UniformLevels:
    """(clip(rne(x / step) + zero_point, low, high) - zero_point) * step.

    Args:
        step: Above 0.
        zero_point: What stands for 0.
        low: The least integer.
        high: The greatest.
    """

    step: np.float32
    zero_point: int
    low: int
    high: int


@dataclass(frozen=True)
class Staircase:
    """levels[number of thresholds <= x], for each float32 x.

    Args:
        thresholds: float32 [K - 1], ascending.
        levels: float32 [K].
        integers: [K]; levels = integers * step. None: they lie on no grid.
        step: Of the integers.
    """

    thresholds: NDArray[np.float32]
    levels: NDArray[np.float32]
    integers: NDArray[np.int64] | None
    step: np.float32

    @property
    def is_sign(self) -> bool:
        """Whether it is step where x >= 0, and -step elsewhere."""
        at_zero = self.thresholds.tolist() == [0]
        return at_zero and self.integers is not None and self.integers.tolist() == [-1, 1]


@dataclass(frozen=True)
class Limits:
    """What a quantizer without levels does: clip(x, low, high)."""

    low: float
    high: float


def read_uniform(quantizer: Quantizer) -> UniformLevels | None:
    """Return the levels that rounding to a step gives; None: the quantizer does something else.

    Its boundaries lie in the middle of the levels, but for the rounding of float32.
    """
    grid, thresholds = quantizer.grid(), quantizer.thresholds()
    if grid is None or thresholds is None or grid.step.dim():
        return None
    integers = grid.integers.tolist()
    if integers != list(range(integers[0], integers[0] + len(integers))):
        return None
    step = grid.step.detach().double()
    places = torch.tensor(integers[:-1]).double() - float(grid.zero_point) + 0.5
    room = _BOUNDARY_TOLERANCE * (places.abs() + 1) * step
    if bool(((thresholds.tau.cpu() - places * step.cpu()).abs() > room.cpu()).any()):
        return None
    zero_point = int(grid.zero_point)
    return UniformLevels(np.float32(step), zero_point, integers[0], integers[-1])


def read_staircase(quantizer: Quantizer) -> Staircase | None:
    """Return the boundaries and the levels of any quantizer that has one codebook."""
    thresholds, book = quantizer.thresholds(), quantizer.codebook().detach().cpu()
    if thresholds is None or book.dim() != 1:
        return None
    tau = thresholds.tau.cpu().numpy()
    nearest = tau.astype(np.float32)
    # The least float32 that reaches the boundary.
    below = np.where(thresholds.strict.cpu().numpy(), nearest <= tau, nearest < tau)
    reached = np.where(below, np.nextafter(nearest, np.float32(np.inf)), nearest)
    grid = quantizer.grid()
    integers = None if grid is None else (grid.integers - grid.zero_point).cpu().long().numpy()
    step = np.float32(1) if grid is None else np.float32(grid.step.detach().cpu())
    return Staircase(reached.astype(np.float32), book.numpy(), integers, step)


@torch.no_grad()
def find_limits(quantizer: Quantizer) -> Limits | None:
    """Return what a quantizer of 32 bits clips to; None: it does something else."""
    magnitudes = torch.logspace(-20, 40, 481, base=2)
    probe = torch.cat([-magnitudes.flip(0), torch.zeros(1), magnitudes])
    result = quantizer(probe)
    low, high = float(result.min()), float(result.max())
    if not torch.equal(result, probe.clamp(low, high)):
        return None
    return Limits(
        -np.inf if low == float(probe[0]) else low, np.inf if high == float(probe[-1]) else high
    )
