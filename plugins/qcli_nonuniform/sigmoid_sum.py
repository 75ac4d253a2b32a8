"""The staircase of quantization networks, and the sum of sigmoids that stands for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def count_edges(z: Tensor, edges: Tensor) -> Tensor:
    """Return how many edges each number has reached: int32."""
    codes = torch.zeros_like(z, dtype=torch.int32)
    for edge in edges.unbind():
        codes += z >= edge
    return codes


def _exponents(
    z: Tensor, edges: Tensor, temperature: Tensor, exponent_clamp: float | None
) -> Iterator[Tensor]:
    """Yield what enters the sigmoid of every edge."""
    for edge in edges.unbind():
        exponent = (z - edge).mul_(temperature)
        if exponent_clamp is not None:
            exponent.clamp_(-exponent_clamp, exponent_clamp)
        yield exponent


def sum_sigmoids(
    x: Tensor,
    gain: Tensor,
    scale: Tensor,
    *,
    levels: Tensor,
    edges: Tensor,
    temperature: Tensor,
    exponent_clamp: float | None,
    backward_slope: str,
    hard: bool,
) -> Tensor:
    """Return the staircase of gain * x, times the scale: hard, or softened by sigmoids.

    The gradient is that of the soft form, whichever form is returned. The sigmoids' slope is taken
    at the clamped exponent: it does not vanish beyond the clamp.

    Args:
        x: Float, of any shape.
        gain: 0-d, positive.
        scale: 0-d, positive.
        levels: The values before scaling, ascending: [K].
        edges: Ascending: [K - 1].
        temperature: 0-d.
        exponent_clamp: The bound on what enters the sigmoids; None: none.
        backward_slope: "exact", "t1" or "t1_times_t".
        hard: Whether the staircase itself is returned.
    """
    chosen = (exponent_clamp, backward_slope, hard)
    value: Tensor = _SigmoidSum.apply(x, gain, scale, levels, edges, temperature, *chosen)
    return value


class _SigmoidSum(torch.autograd.Function):
    """Saves its input and recomputes what it emits."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gain: Tensor,
        scale: Tensor,
        levels: Tensor,
        edges: Tensor,
        temperature: Tensor,
        exponent_clamp: float | None,
        backward_slope: str,
        hard: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, gain, scale, levels, edges, temperature)
        ctx.chosen = (exponent_clamp, backward_slope, hard)
        return _emit(gain * x, scale, levels, edges, temperature, exponent_clamp, hard)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale, levels, edges, temperature = ctx.saved_tensors
        exponent_clamp, backward_slope, hard = ctx.chosen
        z = gain * x
        value = _emit(z, scale, levels, edges, temperature, exponent_clamp, hard)
        by_scale = value.div_(scale).mul_(gradient).sum()
        sharpness = temperature if backward_slope == "exact" else torch.ones_like(temperature)
        factor = sharpness if backward_slope == "t1" else temperature
        slope = torch.zeros_like(z)
        exponents = _exponents(z, edges, sharpness, exponent_clamp)
        for step, exponent in zip(levels.diff().unbind(), exponents, strict=True):
            # The slope is even, and 1 - sigmoid loses its digits near 1.
            share = exponent.abs_().neg_().sigmoid_()
            rest = 1 - share
            slope.add_(share.mul_(step).mul_(rest))
        by_sum = slope.mul_(gradient).mul_(factor)
        # In terms of z, which is of the size of the levels: the product of scale and x overflows.
        largest = torch.finfo(z.dtype).max
        by_gain = (z.mul_(by_sum).sum() * scale / gain).clamp(-largest, largest)
        return by_sum.mul_(scale * gain), by_gain, by_scale, *[None] * 6


def _emit(
    z: Tensor,
    scale: Tensor,
    levels: Tensor,
    edges: Tensor,
    temperature: Tensor,
    exponent_clamp: float | None,
    hard: bool,
) -> Tensor:
    """Return the staircase of z times the scale, hard or softened: a new tensor."""
    if hard:
        values = (levels * scale).unbind()
        value = torch.zeros_like(z).add_(values[0])
        for edge, level in zip(edges.unbind(), values[1:], strict=True):
            value = torch.where(z >= edge, level, value)
        return value
    total = torch.zeros_like(z).add_(levels[0])
    exponents = _exponents(z, edges, temperature, exponent_clamp)
    for step, exponent in zip(levels.diff().unbind(), exponents, strict=True):
        total.add_(exponent.sigmoid_().mul_(step))
    return total.mul_(scale)
