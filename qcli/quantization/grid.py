"""Codebooks that lie on a grid, and thresholds that need no arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_INTEGER = 1 << 15


@dataclass(frozen=True)
class Grid:
    """A codebook as integers: value = (integers - zero_point) * step, exact in float32.

    Args:
        step: float32, 0-d or [O]; 0 for a channel whose every value is 0.
        integers: int32 [K], in the order of the codes.
        zero_point: int32, 0-d: the integer that stands for 0.
    """

    step: Tensor
    integers: Tensor
    zero_point: Tensor

    def values(self) -> Tensor:
        """Return the codebook: float32 [K], or [O, K] for a step of each channel."""
        centered = (self.integers - self.zero_point).float()
        return centered * self.step.unsqueeze(-1)


def fit_grid(values: Tensor) -> Grid | None:
    """Return a coarse grid on which float32 values lie exactly.

    Args:
        values: float32 [K], in the order of the codes; or [O, K], where every channel has a step
            of its own and all share the integers.

    Returns:
        The grid with zero point 0, or None where no grid of 16-bit integers gives every value back.
    """
    zero = torch.zeros((), dtype=torch.int32, device=values.device)
    if values.dim() == 1:
        fit = _fit_row(values)
        return Grid(*fit, zero) if fit else None
    # A channel of zeros lies on every grid, with the step 0.
    alive = values.any(1)
    fits = [_fit_row(row) for row in (values[alive] if alive.any() else values)]
    found = [fit for fit in fits if fit]
    if len(found) < len(fits) or any(not torch.equal(fit[1], found[0][1]) for fit in found):
        return None
    steps = torch.zeros(len(values), device=values.device)
    if alive.any():
        steps[alive] = torch.stack([step for step, _ in found])
    return Grid(steps, found[0][1], zero)


def _fit_row(values: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the step and the integers of [K] values."""
    magnitudes = values[values != 0].abs()
    if not len(magnitudes):
        return torch.ones((), device=values.device), torch.zeros_like(values, dtype=torch.int32)
    gaps = values.sort().values.diff()
    # A gap between rounded values can miss the step by an ulp: the smallest value goes first.
    for length in (magnitudes.min(), *gaps[gaps > 0].sort().values[:1]):
        for divisor in range(1, 65):
            step = length / divisor
            integers = torch.round(values / step)
            if integers.abs().max() >= LARGEST_INTEGER:
                break
            if torch.equal(integers * step, values):
                return step, integers.to(torch.int32)
    return None


@dataclass(frozen=True)
class Thresholds:
    """The boundaries of a quantizer of inputs or outputs.

    The code of x is the number of boundaries that x has reached: those with x >= tau, or with
    x > tau where `strict` holds.

    Args:
        tau: float64 [K - 1], ascending; +inf: never reached by a float32.
        strict: bool [K - 1].
    """

    tau: Tensor
    strict: Tensor

    def codes(self, x: Tensor) -> Tensor:
        """Return the int32 codes of a float tensor of any shape."""
        wide = x.double().unsqueeze(-1)
        reached = torch.where(self.strict, wide > self.tau, wide >= self.tau)
        return reached.sum(-1).to(torch.int32)


def find_thresholds(codes: Callable[[Tensor], Tensor], num_levels: int) -> Thresholds:
    """Find the boundaries of a monotone quantizer by bisection over the float32 numbers.

    Every boundary is the smallest float32 that reaches its code, so that it holds exactly for
    each float32 whatever arithmetic `codes` uses.

    Args:
        codes: Maps float32 [N] to codes 0..num_levels - 1 that never fall as x grows.
        num_levels: The number of codes.
    """
    wanted = torch.arange(1, num_levels)
    infinity = _rank(torch.tensor([torch.inf]))
    low = (-infinity).expand(num_levels - 1).clone()
    high = infinity.expand(num_levels - 1).clone()
    while bool((low < high).any()):
        middle = torch.div(low + high, 2, rounding_mode="floor")
        reached = codes(_unrank(middle)).cpu() >= wanted
        high = torch.where(reached, middle, high)
        low = torch.where(reached, low, middle + 1)
    tau = _unrank(high)
    never = codes(tau).cpu() < wanted
    tau = torch.where(never, torch.inf, tau)
    return Thresholds(tau.double(), never)


def _rank(x: Tensor) -> Tensor:
    """Map float32 numbers to int64 that are ordered alike; both zeros become 0."""
    bits = x.view(torch.int32).long()
    return torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF))


def _unrank(rank: Tensor) -> Tensor:
    bits = torch.where(rank >= 0, rank, rank.abs() | 0x80000000)
    # The bits of a negative float32 exceed int32: wrap them into its negative half.
    wrapped = torch.where(bits >= 1 << 31, bits - (1 << 32), bits)
    return wrapped.to(torch.int32).view(torch.float32)
