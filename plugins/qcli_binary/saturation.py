"""The gradient of HardTanh for any value, which QNN and XNOR-Net share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pass_inside(x: Tensor, value: Tensor, lo: float = -1.0, hi: float = 1.0) -> Tensor:
    """Return `value`, of the dtype of `x`; its gradient goes to `x` where lo <= x <= hi.

    Args:
        x: The tensor that receives the gradient.
        value: float32, of the shape of `x`.
        lo: The lowest x that gets the gradient.
        hi: The highest.
    """
    result: Tensor = _PassInside.apply(x, value, lo, hi)
    return result


class _PassInside(torch.autograd.Function):
    """What torch.clamp passes on its bounds differs between releases of torch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, lo: float, hi: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = (lo, hi)
        return value.to(x.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        lo, hi = ctx.bounds
        return torch.where((x >= lo) & (x <= hi), gradient, 0.0), None, None, None
