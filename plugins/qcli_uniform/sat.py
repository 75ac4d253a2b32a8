"""Scale-adjusted training of weights and activations."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qcli import ParameterDefaults, Quantizer, TensorInfo, straight_through
from qcli_uniform.learned_clip import (
    clipped_codebook,
    clipped_codes,
    keep_positive,
    quantize_clipped,
)
from qcli_uniform.tanh_levels import tanh_levels


class SAT(Quantizer):
    """Scale-adjusted training (SAT) with calibrated clips (CG-PACT).

    Forward:   weights: q = n / N, n = 2 * rne(N * r) - N, r = u / 2 + 1/2, u = tanh(w) / M,
               M = max|tanh(w)| of the layer, N = 2^b - 1;
               full_range: rne((N + .9998) * r - .4999) in place of rne(N * r);
               symmetric: q = rne(R * u) / R, R = 2^(b-1) - 1;
               asymmetric: q = rne((R + 1/2) * u - 1/2) / R;
               rescaled (auto: no norm follows): q * f, f = 1 / sqrt(n_out * VAR[q]),
               n_out = output channels * places of the kernel;
               activations: rne(clip(x, 0, c) / (c/N)) * c/N;
               without rounding (the clamp stage): u * f, and activations untouched
    Backward:  dq/dw = (1 - tanh(w)^2) / M, times 1 + .9998/N full_range, 1 + 1/(2R) asymmetric,
               times f; M and f constant;
               dq/dx = 1 where 0 < x < c, else 0;
               dq/dc = rne(N * x/c) / N - x/c there, 0 below, 1 from c on
    Learned:   `clip` c of activations, one per tensor, which decays as weights do
    Starts at: c = `initial_clip`; the clamp stage from random weights, the next from its weights
    Source:    Jin et al., 2019, arXiv:1912.10207, and N2D2 (CEA-LIST), commit ccce8ba2
    Differs:   mode integer emits what default does: n and the step 1/N are what `grid` returns in
               every mode. VAR is taken at the last optimizer step and is unbiased, as in N2D2;
               where it is 0, f = 1. The maximum can have its gradient (`gradient_through_max`),
               as in the authors' code. Rounding is half to even on every device. A clip stays
               positive, where the papers take its magnitude.
    """

    rectifies = True
    parameter_defaults: Mapping[str, ParameterDefaults] = {
        "latent": ParameterDefaults(),
        "quantizer": ParameterDefaults(weight_decay=None),
    }
    factor: Tensor
    clip: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 4,
        rounding: bool = True,
        mode: str = "default",
        rescale: str | bool = "auto",
        initial_clip: float = 8.0,
        gradient_through_max: bool = False,
    ) -> None:
        super().__init__(info)
        self.is_weight = info.role == "weight"
        self.rounds = rounding and bits != 32
        self.is_identity = bits == 32 or not (rounding or self.is_weight)
        self.gradient_through_max = gradient_through_max
        self.top = (1 << bits) - 1
        if self.is_weight:
            self.levels = tanh_levels(mode, bits)
            automatic = rescale == "auto"
            self.rescales = not info.before_norm if automatic else bool(rescale)
            # f: kept beside the latent, so that the codebook is known without it.
            self.register_buffer("factor", torch.ones(()))
        elif self.rounds:
            self.clip = nn.Parameter(torch.tensor(float(initial_clip)))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure the factor of a weight."""
        if self.is_weight:
            self.measure(x)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Measure the factor again; keep the clip positive."""
        if latent is not None:
            self.measure(latent)
        elif self.rounds:
            keep_positive(self.clip)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take the factor from a latent."""
        if self.is_identity:
            return
        if self.rescales:
            self.factor.copy_(self._measure_factor(latent.float()))
        else:
            # A state that was loaded may have rescaled.
            self.factor.fill_(1)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if self.is_identity:
            return latent
        if not self.is_weight:
            return quantize_clipped(latent, self.clip, self.top, calibrated=True)
        ratio = bound_weight(latent.float(), self.gradient_through_max)
        if not self.rounds:
            return (self.levels.clamped(ratio) * self.factor).to(latent.dtype)
        integers = self.levels.integers(self.levels.codes(ratio.detach()))
        sloped = ratio * (self.factor * self.levels.slope)
        return straight_through(sloped, integers * self._step()).to(latent.dtype)

    def health(self, latent: Tensor | None) -> dict[str, float]:
        """Return the clip, which collapses where its learning rate or decay is too large."""
        return {"clip": float(self.clip.detach())} if self.rounds and not self.is_weight else {}

    def codebook(self) -> Tensor:
        """Return n * f / N, or the multiples of c/N: [K]; nothing without rounding."""
        if not self.rounds:
            return torch.empty(0)
        if not self.is_weight:
            return clipped_codebook(self.clip, self.top)
        return self.levels.all_integers(self.factor.device) * self._step()

    def continuous(self, latent: Tensor) -> Tensor:
        """Return u * f of a weight."""
        if not self.is_weight or not self.rounds:
            return latent
        return self.levels.clamped(bound_weight(latent.float())) * self.factor

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for the lowest level, and so on."""
        x = latent.float()
        if not self.is_weight:
            return clipped_codes(x, self.clip, self.top).int()
        return self.levels.codes(bound_weight(x)).int()

    def _step(self) -> Tensor:
        return self.factor / self.levels.divisor

    def _measure_factor(self, weight: Tensor) -> Tensor:
        """Return 1 / sqrt(n_out * VAR) of what is emitted, or 1 where all of it is equal."""
        if weight.numel() < 2:
            return torch.ones_like(self.factor)
        ratio = bound_weight(weight)
        levels = self.levels
        rounded = levels.integers(levels.codes(ratio)) / levels.divisor
        used = (rounded if self.rounds else levels.clamped(ratio)).double()
        outputs = weight.shape[self.info.channel_axis] * math.prod(weight.shape[2:])
        return torch.where(used.amin() < used.amax(), (outputs * used.var()).rsqrt(), 1.0)


def bound_weight(weight: Tensor, through_max: bool = False) -> Tensor:
    """Return tanh(w) / max|tanh(w)|; a layer of zeros stays so.

    Args:
        weight: Float weights of a layer.
        through_max: Whether the gradient also flows through the maximum.
    """
    bounded = torch.tanh(weight)
    largest = bounded.abs().amax()
    largest = torch.where(largest == 0, 1.0, largest)
    return bounded / (largest if through_max else largest.detach())
