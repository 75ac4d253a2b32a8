"""DoReFa-Net quantization of weights and activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qcli import Quantizer, TensorInfo, straight_through


class DoReFa(Quantizer):
    """DoReFa-Net.

    Forward:   weights, k >= 2 bits: 2 * rne(N * r) / N - 1, r = tanh(w) / (2 M) + 1/2,
               M = max|tanh(w)| of the layer, N = 2^k - 1;
               weights, 1 bit: sgn(w) * E, E = mean|w| of the layer, sgn(0) = 1;
               activations: rne(N * clip(x, 0, 1)) / N
    Backward:  weights, k >= 2: dq/dw = (1 - tanh(w)^2) / M, and through M to the largest weight;
               1 bit: 1; activations: 1 where 0 <= x <= 1, else 0
    Learned:   nothing
    Starts at: the weights at hand
    Source:    Zhou et al., 2016, arXiv:1606.06160
    """

    magnitude: Tensor
    step: Tensor

    def __init__(
        self, info: TensorInfo, *, bits: int = 4, gradient_through_max: bool = True
    ) -> None:
        super().__init__(info)
        self.is_weight = info.role == "weight"
        self.binary = self.is_weight and bits == 1
        self.top = (1 << bits) - 1
        self.gradient_through_max = gradient_through_max
        # E: kept beside the latent, so that the codebook is known without it.
        self.register_buffer("magnitude", torch.ones(()))
        self.register_buffer("step", torch.tensor(1 / self.top), persistent=False)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure mean|w| of a 1-bit weight."""
        if self.binary:
            self.magnitude.copy_(x.float().abs().mean())

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Measure mean|w| of a 1-bit weight again."""
        if latent is not None:
            self.observe(latent)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if self.binary:
            hard = torch.where(latent >= 0, self.magnitude, -self.magnitude)
            return straight_through(latent, hard.to(latent.dtype))
        function = _QuantizeWeight if self.is_weight else _QuantizeActivation
        arguments = (self.gradient_through_max,) if self.is_weight else ()
        quantized: Tensor = function.apply(latent, self.top, self.step, *arguments)
        return quantized

    def codebook(self) -> Tensor:
        """Return {-E, E}, the odd multiples of 1/N, or the multiples of 1/N: [K]."""
        device = self.step.device
        if self.binary:
            return torch.stack([-self.magnitude, self.magnitude])
        codes = torch.arange(self.top + 1, device=device).float()
        return (2 * codes - self.top if self.is_weight else codes) * self.step

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0..2^k - 1."""
        x = latent.float()
        if self.binary:
            return (x >= 0).int()
        code = _weight_codes(x, self.top)[0] if self.is_weight else _codes(x.clamp(0, 1), self.top)
        return code.int()


def _codes(unit: Tensor, top: int) -> Tensor:
    return torch.round(unit * top)


def _weight_codes(weight: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the codes, tanh(w) and its largest magnitude."""
    bounded = torch.tanh(weight)
    largest = bounded.abs().amax()
    # A layer of zeros has no scale: any does.
    largest = torch.where(largest == 0, 1.0, largest)
    return _codes(bounded / (2 * largest) + 0.5, top), bounded, largest


class _QuantizeWeight(torch.autograd.Function):
    """Saves its input and recomputes the rest."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, top: int, step: Tensor, through_max: bool) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.top = top
        ctx.through_max = through_max
        code = _weight_codes(weight.float(), top)[0]
        return ((2 * code - top) * step).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        wide = gradient.float()
        _, bounded, largest = _weight_codes(weight.float(), ctx.top)
        by_bounded = wide / largest
        if ctx.through_max:
            at_max = bounded.abs() == largest
            # Largest magnitudes that tie share the gradient, as autograd does.
            # Dividing twice: the square of a tiny maximum is 0 in float32.
            share = -(by_bounded * bounded).sum() / largest / at_max.sum().clamp(min=1)
            by_bounded = by_bounded + torch.where(at_max, share * bounded.sign(), 0.0)
        return (by_bounded * (1 - bounded**2)).to(gradient.dtype), None, None, None


class _QuantizeActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, top: int, step: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        # Clamping keeps -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return (_codes(x.float().clamp(0, 1), top) * step).add_(0.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return torch.where((x >= 0) & (x <= 1), gradient, 0.0), None, None
