"""DoReFa-Net quantization of weights, activations and gradients."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor

from qcli import Progress, Quantizer, TensorInfo, keep_inside, signs, straight_through
from qcli_uniform.gradient_rounding import quantize_gradient_of
from qcli_uniform.tanh_weight import bound_tanh, quantize_tanh, tanh_codes

FLOAT_BITS = 32


class DoReFa(Quantizer):
    """DoReFa-Net.

    Forward:   weights, k >= 2 bits: 2 * rne(N * r) / N - 1, r = tanh(w) / (2 M) + 1/2,
               M = max|tanh(w)| of the layer, N = 2^k - 1;
               weights, 1 bit: sgn(w) * E, E = mean|w| of the layer, sgn(0) = 1;
               activations: rne(N * clip(x, 0, 1)) / N; 32 bits: clip(x, 0, 1) with
               `keep_nonlinearity`; any other tensor of 32 bits is left as it is
    Backward:  weights, k >= 2: dq/dw = (1 - tanh(w)^2) / M, and through M to the largest weight;
               1 bit: 1; activations: 1 where 0 <= x <= 1, else 0;
               `gradient_bits` G: the gradient g of an output becomes, sample by sample,
               2 m * (rne(N * clip(g / (2 m) + 1/2 + u/N, 0, 1)) / N - 1/2), m = max|g|,
               N = 2^G - 1, u from U(-1/2, 1/2) by seed, step, layer and process
    Learned:   nothing
    Starts at: the weights at hand
    Source:    Zhou et al., 2016, arXiv:1606.06160
    """

    rectifies = True
    magnitude: Tensor
    step: Tensor
    noise_seed: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 4,
        gradient_through_max: bool = True,
        gradient_bits: int = FLOAT_BITS,
        keep_nonlinearity: bool = False,
    ) -> None:
        super().__init__(info)
        if gradient_bits != FLOAT_BITS and info.role != "output":
            raise ValueError('"gradient_bits" is for the output of a layer; set it there')
        self.is_weight = info.role == "weight"
        self.is_float = bits == FLOAT_BITS
        self.binary = self.is_weight and bits == 1
        self.top = (1 << bits) - 1
        self.gradient_through_max = gradient_through_max
        self.gradient_bits = gradient_bits
        self.keep_nonlinearity = keep_nonlinearity
        # E: kept beside the latent, so that the codebook is known without it.
        self.register_buffer("magnitude", torch.ones(()))
        self.register_buffer("step", torch.tensor(1 / self.top), persistent=False)
        self.register_buffer("noise_seed", torch.zeros((), dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure mean|w| of a 1-bit weight."""
        self.measure(x)

    def on_progress(self, progress: Progress) -> None:
        """Seed the noise of gradients, unlike in every process: they see unlike samples."""
        if self.gradient_bits != FLOAT_BITS:
            key = f"{progress.seed} {progress.step} {self.info.layer} {_rank()}"
            self.noise_seed.fill_(zlib.crc32(key.encode()))

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Measure mean|w| of a 1-bit weight again."""
        if latent is not None:
            self.measure(latent)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take mean|w| of a 1-bit weight from a latent."""
        if self.binary:
            self.magnitude.copy_(latent.float().abs().mean())

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if self.gradient_bits != FLOAT_BITS:
            latent = quantize_gradient_of(latent, self.gradient_bits, self.noise_seed)
        return self._quantize_weight(latent) if self.is_weight else self._quantize_data(latent)

    def _quantize_weight(self, latent: Tensor) -> Tensor:
        if self.is_float:
            return latent
        if self.binary:
            hard = signs(latent).mul_(self.magnitude)
            return straight_through(latent, hard.to(latent.dtype))
        return quantize_tanh(latent, self.top, self.step, self.gradient_through_max)

    def _quantize_data(self, x: Tensor) -> Tensor:
        if self.is_float and not self.keep_nonlinearity:
            return x
        top = None if self.is_float else self.top
        quantized: Tensor = _QuantizeData.apply(x, top, self.step)
        return quantized

    def codebook(self) -> Tensor:
        """Return {-E, E}, the odd multiples of 1/N, or the multiples of 1/N: [K]."""
        device = self.step.device
        if self.is_float:
            return torch.empty(0, device=device)
        if self.binary:
            return torch.stack([-self.magnitude, self.magnitude])
        codes = torch.arange(self.top + 1, device=device).float()
        return (2 * codes - self.top if self.is_weight else codes) * self.step

    def continuous(self, latent: Tensor) -> Tensor:
        """Return tanh(w) / M of a weight of 2 and more bits."""
        if not self.is_weight or self.is_float or self.binary:
            return latent
        return bound_tanh(latent.float())

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0..2^k - 1."""
        x = latent.float()
        if self.binary:
            return (x >= 0).int()
        code = tanh_codes(x, self.top) if self.is_weight else _data_codes(x, self.top)
        return code.int()


def _rank() -> int:
    group = torch.distributed
    return group.get_rank() if group.is_available() and group.is_initialized() else 0


def _data_codes(x: Tensor, top: int) -> Tensor:
    return x.clamp(0, 1).mul_(top).round_()


class _QuantizeData(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, top: int | None, step: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        wide = x.float()
        cut = _data_codes(wide, top).mul_(step) if top else wide.clamp(0, 1)
        # Clamping keeps -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return cut.add_(0.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return keep_inside(gradient, x, 0, 1), None, None
