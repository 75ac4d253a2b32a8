"""Where the logits of a search start, and the noise that they meet."""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor


def uniform_logits(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return log(1/K) + 1e-5 U(-1/2, 1/2): nearly equal chances.

    Args:
        shape: [K, ...].
        device: Where to.
    """
    return 1e-5 * (torch.rand(shape, device=device) - 0.5) - math.log(shape[0])


def normal_logits(shape: tuple[int, ...], channel_axis: int, device: torch.device) -> Tensor:
    """Return N(0, 2 / fan_out), as He et al. start weights.

    Args:
        shape: [K, *weight]; the authors' code counts K among the places of the kernel.
        channel_axis: The axis of output channels of the weight.
        device: Where to.
    """
    fan_out = math.prod(shape) / shape[1:][1 - channel_axis]
    return torch.randn(shape, device=device) * math.sqrt(2 / fan_out)


def pretrained_logits(weight: Tensor, factor: Tensor, values: Tensor, confidence: float) -> Tensor:
    """Return -confidence * (w/c - v_j)^2: each weight prefers the values nearest to it.

    Args:
        weight: Float32, trained before.
        factor: Float32: c, the factor on the values that fits the weight best.
        values: Float32 [K].
        confidence: How strongly.
    """
    column = values.reshape(-1, *[1] * weight.dim())
    return -confidence * (weight / factor - column).square()


def draw_gumbel(shape: torch.Size, key: str, device: torch.device) -> Tensor:
    """Return Gumbel noise, the same for the same key on one kind of device."""
    generator = torch.Generator(device).manual_seed(zlib.crc32(key.encode()))
    uniform = torch.rand(shape, generator=generator, device=device)
    return -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
