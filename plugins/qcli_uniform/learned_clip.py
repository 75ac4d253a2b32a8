"""Rounding within a trained clip, as PACT and CG-PACT have it for activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcli import keep_between


def quantize_clipped(x: Tensor, clip: Tensor, top: int | None, calibrated: bool) -> Tensor:
    """Cut to [0, clip] and round to multiples of clip / top.

    Args:
        x: Activations of any shape.
        clip: Float32, 0-d, positive.
        top: The largest code; None: nothing is rounded.
        calibrated: Whether the clip's gradient counts the error of rounding (CG-PACT).
    """
    quantized: Tensor = _QuantizeClipped.apply(x, clip, top, calibrated)
    return quantized


def clipped_codes(x: Tensor, clip: Tensor, top: int) -> Tensor:
    """Return the codes 0..top of float32 activations, as floats."""
    return (x / (clip / top)).clamp_(0, top).round_()


def clipped_codebook(clip: Tensor, top: int) -> Tensor:
    """Return the multiples of clip / top: float32 [top + 1]."""
    return torch.arange(top + 1, device=clip.device).float() * (clip.detach() / top)


@torch.no_grad()
def keep_positive(clip: Tensor) -> None:
    """Mend a clip that an update carried across 0."""
    clip.clamp_(min=torch.finfo(torch.float32).eps)


def _cut(x: Tensor, clip: Tensor) -> Tensor:
    return x.clamp(min=0).clamp_(max=clip)


class _QuantizeClipped(torch.autograd.Function):
    """Saves its input and recomputes the codes; the clip itself is outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: Tensor, top: int | None, calibrated: bool) -> Tensor:
        ctx.save_for_backward(x, clip)
        ctx.top = top
        ctx.calibrated = calibrated
        wide = x.float()
        rounded = clipped_codes(wide, clip, top).mul_(clip / top) if top else _cut(wide, clip)
        # Clamping keeps -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return rounded.add_(0.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, clip = ctx.saved_tensors
        wide_x, wide = x.float(), gradient.float()
        # Below 1 exactly where x is below the clip.
        ratio = wide_x / clip
        by_x = keep_between(wide, ratio, 0, 1).to(gradient.dtype)
        if ctx.calibrated and ctx.top:
            place = wide_x / (clip / ctx.top)
            inside = keep_between(place, ratio, 0, 1)
            slope = place.clamp_(0, ctx.top).round_().sub_(inside).div_(ctx.top)
        else:
            slope = ratio.ge_(1)
        return by_x, slope.mul_(wide).sum(), None, None
