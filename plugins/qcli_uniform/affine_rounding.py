"""Rounding to integers times a step, with a zero point."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcli import keep_inside


def quantize_affine(x: Tensor, step: Tensor, zero: Tensor, lo: int, hi: int) -> Tensor:
    """Return (clip(rne(x / step) + zero, lo, hi) - zero) * step; the step is a constant.

    Args:
        x: Of any shape and dtype.
        step: Float32, positive, broadcasts over x.
        zero: Float32, an integer: what stands for 0.
        lo: The lowest integer.
        hi: The highest integer.
    """
    quantized: Tensor = _QuantizeAffine.apply(x, step, zero, lo, hi)
    return quantized


def affine_codes(x: Tensor, step: Tensor, zero: Tensor, lo: int, hi: int) -> Tensor:
    """Return the integers lo..hi of float32 numbers, as floats."""
    return (x / step).round_().add_(zero).clamp_(lo, hi)


class _QuantizeAffine(torch.autograd.Function):
    """Saves its input and recomputes the mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, zero: Tensor, lo: int, hi: int) -> Tensor:
        ctx.save_for_backward(x, step, zero)
        ctx.limits = (lo, hi)
        return affine_codes(x.float(), step, zero, lo, hi).sub_(zero).mul_(step).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, step, zero = ctx.saved_tensors
        lo, hi = ctx.limits
        place = (x.float() / step).round_().add_(zero)
        by_x = keep_inside(gradient.float(), place, lo, hi).to(gradient.dtype)
        return by_x, None, None, None, None
