"""The signs of a weight times the mean magnitude of each output channel, and their gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def binarize(weight: Tensor, magnitude: Tensor, exact: bool) -> Tensor:
    """Return magnitude * sgn(weight), of the dtype of `weight`.

    Args:
        weight: The latent.
        magnitude: Its mean magnitude by output channel, of a shape that broadcasts.
        exact: Whether the gradient flows through the mean as the chain rule says; else as the
            paper does.
    """
    result: Tensor = _Binarize.apply(weight, magnitude, exact)
    return result


class _Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, magnitude: Tensor, exact: bool) -> Tensor:
        ctx.save_for_backward(weight, magnitude)
        ctx.exact = exact
        return torch.where(weight >= 0, magnitude, 0.0 - magnitude).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight, magnitude = ctx.saved_tensors
        wide = gradient.float()
        by_sign = wide * torch.where(weight.abs() <= 1, magnitude, 0.0)
        by_mean = wide
        if ctx.exact:
            sign = torch.where(weight >= 0, 1.0, -1.0)
            by_mean = sign * (wide * sign).sum_to_size(magnitude.shape)
        fan_in = weight.numel() // magnitude.numel()
        return (by_sign + by_mean / fan_in).to(gradient.dtype), None, None
