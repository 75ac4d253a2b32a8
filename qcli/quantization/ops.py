"""Operations that quantizers are made of, exact in forward, with the gradient that papers mean.

They are autograd Functions: the trick `x + (q - x).detach()` changes values in the last bits.
"""

from __future__ import annotations

import struct
from typing import Any

import torch
import torch.distributed
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, value: Tensor) -> Tensor:
        # No view: whoever receives it may change it in place.
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


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
        return keep_inside(gradient, x, *ctx.bounds), None, None, None


class _RoundSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def straight_through(source: Tensor, value: Tensor) -> Tensor:
    """Return `value`, whose gradient goes to `source` unchanged.

    Args:
        source: The tensor that receives the gradient, of the shape of `value`.
        value: The tensor that is returned, bit for bit.
    """
    result: Tensor = _StraightThrough.apply(source, value)
    return result


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


def keep_between(gradient: Tensor, x: Tensor, lo: float, hi: float) -> Tensor:
    """Return the gradient where lo < x < hi, else 0.

    One pass over memory. On a CPU torch.where with a number takes twenty times as long.
    """
    kept: Tensor = torch.ops.aten.hardtanh_backward(gradient, x, lo, hi)
    return kept


def keep_inside(gradient: Tensor, x: Tensor, lo: float, hi: float) -> Tensor:
    """Return the gradient where lo <= x <= hi, else 0, in one pass over memory."""
    return keep_between(gradient, x, -_next_above(-lo), _next_above(hi))


def signs(x: Tensor) -> Tensor:
    """Return 1 where x >= 0, else -1: float32, a new tensor."""
    return x.to(torch.float32, copy=True).ge_(0).mul_(2).sub_(1)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _next_above(number: float) -> float:
    """Return the smallest float32 above a number."""
    (place,) = struct.unpack("<i", struct.pack("<f", number))
    # The integers of negative numbers fall where the numbers rise.
    place = place + (1 if number > 0 else -1) if number else 1
    above: float = struct.unpack("<f", struct.pack("<i", place))[0]
    return above


def round_ste(x: Tensor) -> Tensor:
    """Round half to even; the gradient passes unchanged (straight-through estimator)."""
    result: Tensor = _RoundSTE.apply(x)
    return result


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return `x` unchanged; its gradient is multiplied by `factor`."""
    result: Tensor = _ScaleGradient.apply(x, factor)
    return result


def _reduce(tensor: Tensor, operation: Any) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor, operation)
    return tensor


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; with one process, the tensor itself."""
    return _reduce(tensor, torch.distributed.ReduceOp.SUM)


def all_reduce_max(tensor: Tensor) -> Tensor:
    """Return the elementwise maximum over all processes; with one process, the tensor itself."""
    return _reduce(tensor, torch.distributed.ReduceOp.MAX)
