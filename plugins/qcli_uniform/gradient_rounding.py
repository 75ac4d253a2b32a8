"""DoReFa's quantized gradients: a layer's output passes, and its gradient is rounded with noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_LOW_32_BITS = 0xFFFFFFFF


def quantize_gradient_of(output: Tensor, bits: int, seed: Tensor) -> Tensor:
    """Return a layer's output unchanged; its gradient is quantized.

    Args:
        output: [B, ...].
        bits: The width of the gradient.
        seed: Int64, 0-d, below 2^32: what the noise is drawn from.
    """
    same: Tensor = _QuantizeGradient.apply(output, bits, seed)
    return same


def round_gradient(gradient: Tensor, noise: Tensor, bits: int) -> Tensor:
    """Quantize a gradient within the largest magnitude of each sample.

    Args:
        gradient: Float32 [B, ...].
        noise: Of the same shape, from -1/2 to 1/2.
        bits: The width.
    """
    top = (1 << bits) - 1
    twice = 2 * gradient.abs().amax(tuple(range(1, gradient.dim())), keepdim=True)
    # A sample of zeros has no scale: any does.
    unit = gradient / torch.where(twice == 0, 1.0, twice) + 0.5 + noise / top
    return twice * (torch.round(unit.clamp(0, 1) * top) / top - 0.5)


def draw_noise(shape: torch.Size, seed: Tensor) -> Tensor:
    """Return numbers evenly spread over [-1/2, 1/2), the same for the same seed: float32.

    A generator would break the compiled graph: each place is mixed with the seed instead.
    """
    places = torch.arange(shape.numel(), device=seed.device)
    return (_mix(_mix(places) ^ seed).double() / 2**32 - 0.5).float().reshape(shape)


def salt_seed(seed: Tensor, gradient: Tensor) -> Tensor:
    """Return the seed, mixed with what a gradient holds: a step's micro-batches have one seed."""
    return seed ^ _mix(gradient.float().abs().sum().view(torch.int32).long() & _LOW_32_BITS)


def _mix(x: Tensor) -> Tensor:
    """Spread 32-bit integers: Wellons' "lowbias32"."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _LOW_32_BITS
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _LOW_32_BITS
    return x ^ (x >> 16)


class _QuantizeGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, bits: int, seed: Tensor) -> Tensor:
        ctx.save_for_backward(seed)
        ctx.bits = bits
        return output.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (seed,) = ctx.saved_tensors
        noise = draw_noise(gradient.shape, salt_seed(seed, gradient))
        return round_gradient(gradient.float(), noise, ctx.bits).to(gradient.dtype), None, None
