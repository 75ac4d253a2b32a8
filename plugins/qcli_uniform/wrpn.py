"""WRPN quantization of weights and activations."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli import Quantizer, TensorInfo, pass_inside, signs


class WRPN(Quantizer):
    """Wide reduced-precision networks (WRPN).

    Forward:   weights, b >= 2 bits: rne(R * clip(w, -1, 1)) / R, R = 2^(b-1) - 1;
               weights, 1 bit: sgn(w), or sgn(w) * mean|w| of the output channel, sgn(0) = 1;
               activations: rne(N * clip(x, 0, 1)) / N, N = 2^b - 1
    Backward:  1 where -1 <= w <= 1, and where 0 <= x <= 1, else 0
    Learned:   nothing
    Starts at: 1 bit: the weights at hand; more bits: the weights over their largest magnitude
    Source:    Mishra et al., ICLR 2018, arXiv:1709.01134
    Differs:   a quantizer does not widen layers, which the paper does to win the accuracy back:
               choose a wider architecture. Codes are rne(x / s), s = 1/R or 1/N in float32.
               A network's own start is so small that few bits would round all of it to 0: it is
               spread over [-1, 1]; initial_weights auto leaves trained weights that no norm
               rescales as they are.
    """

    rectifies = True
    magnitude: Tensor
    step: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 4,
        scale: str = "none",
        initial_weights: str = "auto",
        keep_nonlinearity: bool = False,
    ) -> None:
        super().__init__(info)
        is_weight = info.role == "weight"
        self.is_float = bits == 32
        self.is_identity = self.is_float and (is_weight or not keep_nonlinearity)
        self.binary = is_weight and bits == 1
        automatic = bits > 1 and (info.before_norm or not info.pretrained)
        self.spreads = automatic if initial_weights == "auto" else initial_weights == "spread"
        self.scales = self.binary and scale == "mean"
        self.hi = max(1, (1 << bits - 1) - 1) if is_weight else (1 << bits) - 1
        self.lo = -self.hi if is_weight else 0
        self.bounds = (-1.0 if is_weight else 0.0, 1.0)
        shape = info.channel_shape() if self.scales else ()
        # What the sign of a 1-bit weight is multiplied by.
        self.register_buffer("magnitude", torch.ones(shape))
        self.register_buffer("step", torch.tensor(1 / self.hi), persistent=False)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Measure mean|w| of each output channel of a scaled 1-bit weight."""
        self.measure(x)

    def encode(self, weight: Tensor) -> Tensor:
        """Return the weight, spread over [-1, 1] where that is asked for."""
        if self.is_float or not self.spreads:
            return weight
        largest = weight.abs().amax()
        return weight / torch.where(largest == 0, 1.0, largest)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Measure mean|w| again."""
        if latent is not None:
            self.measure(latent)

    @torch.no_grad()
    def measure(self, latent: Tensor) -> None:
        """Take mean|w| of each output channel of a scaled 1-bit weight from a latent."""
        if self.scales:
            axes = [axis for axis in range(latent.dim()) if axis != self.info.channel_axis]
            self.magnitude.copy_(latent.float().abs().mean(axes, keepdim=True))

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if self.is_identity:
            return latent
        return pass_inside(latent, self._value(latent.detach().float()), *self.bounds)

    def codebook(self) -> Tensor:
        """Return {-m, m}, or the multiples of 1/R or 1/N: [K], or [O, 2]."""
        if self.is_float:
            return torch.empty(0)
        if self.binary:
            magnitude = self.magnitude.flatten() if self.scales else self.magnitude
            return torch.stack([-magnitude, magnitude], -1)
        return torch.arange(self.lo, self.hi + 1, device=self.step.device) * self.step

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for the lowest level, and so on."""
        x = latent.float()
        if self.binary:
            return (x >= 0).int()
        return (torch.round(x.clamp(*self.bounds) / self.step) - self.lo).int()

    def _value(self, x: Tensor) -> Tensor:
        if self.binary:
            return signs(x).mul_(self.magnitude)
        clipped = x.clamp(*self.bounds)
        if not self.is_float:
            clipped.div_(self.step).round_().mul_(self.step)
        # Clamping and rounding leave -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return clipped.add_(0.0)
