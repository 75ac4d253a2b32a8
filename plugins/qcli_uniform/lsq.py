"""Learned step size quantization."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from qcli import Quantizer, TensorInfo, keep_between


class LSQ(Quantizer):
    """Learned step size quantization (LSQ).

    Forward:   q = rne(clip(x / s, lo, hi)) * s, lo = -2^(b-1), hi = 2^(b-1) - 1 signed;
               lo = 0, hi = 2^b - 1 unsigned
    Backward:  dq/dx = 1 where lo < x/s < hi, else 0;
               dq/ds = rne(x/s) - x/s there, lo below, hi above (eq. 3),
               times 1 / sqrt(N * hi), N numbers of the weight, or of one sample
    Learned:   `step_size` s, one per tensor, or per output channel [O, 1, 1, 1]
    Starts at: 2 * mean|x| / sqrt(hi), from the weight or the first training batch
    Source:    Esser et al., ICLR 2020, arXiv:1902.08153, eq. 1-5
    Differs:   signed 1 bit has the levels {-s, s} with s from mean|x| and hi taken as 1: the
               paper's formula has hi = 0 there. N counts one sample, so that it does not depend
               on the batch size.
    """

    positive: Tensor
    observed: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 4,
        signed: bool = True,
        granularity: str = "tensor",
        initial_step: float | None = None,
        learned: bool = True,
    ) -> None:
        super().__init__(info)
        if granularity == "channel" and info.role != "weight":
            raise ValueError('granularity "channel" is for weights')
        if info.role == "weight" and not signed:
            raise ValueError('weights are signed; leave "signed" true')
        if bits == 1 and signed and info.role != "weight":
            raise ValueError("1 signed bit is for weights; set signed to false or bits to 2")
        self.binary = bits == 1 and signed
        self.lo = -(1 << bits - 1) if signed else 0
        self.hi = max(1, (1 << bits - 1) - 1) if signed else (1 << bits) - 1
        self.initial_step = initial_step
        self.per_channel = granularity == "channel"
        shape = info.channel_shape() if self.per_channel else ()
        self.step_size = nn.Parameter(torch.full(shape, initial_step or 1.0), learned)
        self.register_buffer("observed", torch.zeros((), dtype=torch.bool))
        steps = max(1, self.step_size.numel())
        self.gradient_scale = 1 / math.sqrt(math.prod(info.shape) / steps * self.hi)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Start the step from the weight, or from the first batch of inputs."""
        first = self.info.role == "weight" or not bool(self.observed)
        if self.initial_step is None and first:
            mean = self._mean_magnitude(x.float())
            step = mean if self.binary else 2 * mean / math.sqrt(self.hi)
            self.step_size.copy_(step)
            self._keep_positive()
        self.observed.fill_(True)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize; the step's gradient is summed in float32."""
        quantized: Tensor = _QuantizeLSQ.apply(
            latent, self.step_size, self.lo, self.hi, self.binary, self.gradient_scale
        )
        return quantized

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Keep the step positive: an update may have carried it across 0."""
        self._keep_positive()

    def health(self, latent: Tensor | None) -> dict[str, float]:
        """Return the smallest step, which collapses where its learning rate is too large."""
        steps = self.step_size.detach().flatten()
        if latent is not None and self.per_channel:
            # The step of a filter of zeros is as small as it can be, from the start.
            steps = steps[latent.movedim(self.info.channel_axis, 0).flatten(1).any(1)]
        return {"step": float(steps.min())} if len(steps) else {}

    def codebook(self) -> Tensor:
        """Return the 2^b multiples of the step: [K], or [O, K] per channel."""
        step = self.step_size.detach()
        step = step.flatten().unsqueeze(-1) if self.per_channel else step
        return self._levels(step.device) * step

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for lo .. 2^b - 1 for hi."""
        ratio = latent.float() / self.step_size
        if self.binary:
            return (ratio >= 0).int()
        return (torch.round(ratio.clamp(self.lo, self.hi)) - self.lo).int()

    def _levels(self, device: torch.device) -> Tensor:
        if self.binary:
            return torch.tensor([-1.0, 1.0], device=device)
        return torch.arange(self.lo, self.hi + 1, device=device).float()

    def _mean_magnitude(self, x: Tensor) -> Tensor:
        if not self.per_channel:
            return x.abs().mean()
        axes = [axis for axis in range(x.dim()) if axis != self.info.channel_axis]
        return x.abs().mean(axes, keepdim=True)

    def _keep_positive(self) -> None:
        self.step_size.clamp_(min=torch.finfo(torch.float32).eps)


class _QuantizeLSQ(torch.autograd.Function):
    """Saves its input and recomputes the codes; works in place, since memory is what costs."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, lo: int, hi: int, binary: bool, scale: float
    ) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.limits = (lo, hi, binary, scale)
        code = _round(x.float() / step, lo, hi, binary)
        # Rounding leaves -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return code.mul_(step).add_(0.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        x, step = ctx.saved_tensors
        lo, hi, binary, scale = ctx.limits
        ratio, wide = x.float() / step, gradient.float()
        by_x = keep_between(wide, ratio, lo, hi).to(gradient.dtype)
        inside = keep_between(ratio, ratio, lo, hi)
        slope = _round(ratio, lo, hi, binary).sub_(inside)
        by_step = slope.mul_(wide).sum_to_size(step.shape) * scale
        return by_x, by_step, None, None, None, None


def _round(ratio: Tensor, lo: int, hi: int, binary: bool) -> Tensor:
    """Turn x / s into codes, in place."""
    return ratio.ge_(0).mul_(2).sub_(1) if binary else ratio.clamp_(lo, hi).round_()
