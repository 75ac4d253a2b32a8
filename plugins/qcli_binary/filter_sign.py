"""The signs of a weight times the mean magnitude of each output channel, and their gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcli import keep_inside, signs


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
        # A channel of zeros has -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return signs(weight).mul_(magnitude).add_(0.0).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        weight, magnitude = ctx.saved_tensors
        wide = gradient.float()
        by_sign = keep_inside(wide * magnitude, weight.float(), -1, 1)
        by_mean = wide
        if ctx.exact:
            sign = signs(weight)
            by_mean = sign * (wide * sign).sum_to_size(magnitude.shape)
        fan_in = weight.numel() // magnitude.numel()
        return (by_sign + by_mean / fan_in).to(gradient.dtype), None, None
