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
        exponent = temperature * (z - edge)
        if exponent_clamp is not None:
            exponent = exponent.clamp(-exponent_clamp, exponent_clamp)
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
    """Saves its input and what it emits, and recomputes the sigmoids."""

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
        z = gain * x
        if hard:
            value = (levels * scale)[count_edges(z, edges).long()]
        else:
            total = levels[0].expand_as(z)
            exponents = _exponents(z, edges, temperature, exponent_clamp)
            for step, exponent in zip(levels.diff().unbind(), exponents, strict=True):
                total = total + step * torch.sigmoid(exponent)
            value = scale * total
        # A copy: whoever receives the value may change it in place.
        ctx.save_for_backward(x, gain, scale, levels, edges, temperature, value.clone())
        ctx.chosen = (exponent_clamp, backward_slope)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, scale, levels, edges, temperature, value = ctx.saved_tensors
        exponent_clamp, backward_slope = ctx.chosen
        z = gain * x
        sharpness = temperature if backward_slope == "exact" else torch.ones_like(temperature)
        factor = sharpness if backward_slope == "t1" else temperature
        slope = torch.zeros_like(z)
        exponents = _exponents(z, edges, sharpness, exponent_clamp)
        for step, exponent in zip(levels.diff().unbind(), exponents, strict=True):
            # The slope is even, and 1 - sigmoid loses its digits near 1.
            share = torch.sigmoid(-exponent.abs())
            slope = slope + step * share * (1 - share)
        by_sum = gradient * slope * factor
        # In terms of z, which is of the size of the levels: the product of scale and x overflows.
        largest = torch.finfo(z.dtype).max
        by_gain = ((by_sum * z).sum() * scale / gain).clamp(-largest, largest)
        by_scale = (gradient * (value / scale)).sum()
        return by_sum * (scale * gain), by_gain, by_scale, *[None] * 6
