"""DoReFa's weights of 2 bits and more: rounded after tanh, by the largest of the layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def quantize_tanh(weight: Tensor, top: int, step: Tensor, through_max: bool) -> Tensor:
    """Return odd multiples of a step from -top to top.

    Args:
        weight: Of any shape.
        top: The largest code, 2^k - 1.
        step: Float32, 0-d: 1 / top.
        through_max: Whether the gradient also flows to the largest weight.
    """
    quantized: Tensor = _QuantizeTanh.apply(weight, top, step, through_max)
    return quantized


def tanh_codes(weight: Tensor, top: int) -> Tensor:
    """Return the codes 0..top of a float32 weight, as floats."""
    bounded, largest = _bounded(weight)
    return torch.round((bounded / (2 * largest) + 0.5) * top)


def bound_tanh(weight: Tensor) -> Tensor:
    """Return tanh(w) / M of a float32 weight, in [-1, 1]."""
    bounded, largest = _bounded(weight)
    return bounded / largest


def _bounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return tanh(w) and its largest magnitude."""
    bounded = torch.tanh(weight)
    largest = bounded.abs().amax()
    # A layer of zeros has no scale: any does.
    return bounded, torch.where(largest == 0, 1.0, largest)


class _QuantizeTanh(torch.autograd.Function):
    """Saves its input and recomputes the rest."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, top: int, step: Tensor, through_max: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.through_max = through_max
        code = tanh_codes(weight.float(), top)
        return ((2 * code - top) * step).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        bounded, largest = _bounded(weight.float())
        by_bounded = gradient.float() / largest
        if ctx.through_max:
            at_max = bounded.abs() == largest
            # Largest magnitudes that tie share the gradient, as autograd does.
            # Dividing twice: the square of a tiny maximum is 0 in float32.
            share = -(by_bounded * bounded).sum() / largest / at_max.sum().clamp(min=1)
            by_bounded = by_bounded + torch.where(at_max, share * bounded.sign(), 0.0)
        return (by_bounded * (1 - bounded**2)).to(gradient.dtype), None, None, None
