"""Quantized and binarized neural networks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from qcli import ParameterDefaults, Progress, Quantizer, TensorInfo, pass_inside, signs
from qcli_binary.powers_of_two import count_powers, find_power, make_powers

# More reach down to where float32 ends, and a GPU may take such numbers for 0.
MOST_POWERS = 64


class QNN(Quantizer):
    """Quantized and binarized neural networks (QNN, BNN).

    Forward:   1 bit: sgn(x), sgn(0) = 1; stochastic, for weights in train mode: 1 with the
               chance clip((w + 1) / 2, 0, 1), else -1;
               linear, k bits: clip(rne(x / d) * d, -1, 1 - d), d = 2^-(k-1);
               unsigned: clip(rne(x / d) * d, 0, 1 - d), d = 2^-k;
               log, k bits: clip(sgn(x) * 2^rne(log2|x|)), between the levels under Differs;
               32 bits: x, or of activations clip(x, -1, 1) where the non-linearity stays
    Backward:  1 where -1 <= x <= 1, else 0; unsigned: 1 where 0 <= x <= 1, else 0
    Learned:   nothing
    Starts at: 1 bit: the weights at hand, cut to [-1, 1], where every step leaves them;
               more bits: the weights over their largest magnitude, see Differs
    Source:    Hubara et al., 2016, arXiv:1609.07061; 1 bit: Courbariaux et al., 2016,
               arXiv:1602.02830, whose code has the learning rates of lr_scale
    Differs:   the number that the paper's linear form divides by is the step d of a fixed-point
               grid. log keeps 2^(k-1) powers of two of each sign, the largest 1, and no 0;
               unsigned: 0 and 2^k - 1 powers, with 0 for what rounds below the smallest.
               The authors' code draws weights from [-1, 1]. A network's own start is far smaller,
               and few bits would round all of it to 0, so that it is spread over [-1, 1];
               initial_weights auto leaves trained weights that no norm rescales as they are.
    """

    parameter_defaults: Mapping[str, ParameterDefaults] = {
        "latent": ParameterDefaults(weight_decay=0.0),
        "quantizer": ParameterDefaults(weight_decay=0.0),
    }
    levels: Tensor
    edges: Tensor
    noise: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 1,
        scheme: str = "linear",
        signed: bool = True,
        stochastic: bool = False,
        lr_scale: str = "none",
        initial_weights: str = "auto",
        keep_nonlinearity: bool = False,
    ) -> None:
        super().__init__(info)
        is_weight = info.role == "weight"
        self.is_float = bits == 32
        self.is_identity = self.is_float and (is_weight or not keep_nonlinearity)
        self.binary = bits == 1 and signed
        self.is_log = scheme == "log" and not (self.is_float or self.binary)
        self.signed = signed
        self.stochastic = stochastic
        automatic = bits > 1 and (info.before_norm or not info.pretrained)
        self.spreads = automatic if initial_weights == "auto" else initial_weights == "spread"
        self._refuse(bits)
        self.bounds = (-1.0 if signed else 0.0, 1.0)
        self.step = 2.0 ** (signed - bits)
        self.lo = -(1 << bits - 1) if signed else 0
        self.hi = self.lo + (1 << bits) - 1
        levels, edges = self._make_levels(bits)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("edges", edges, persistent=False)
        noisy_shape = info.shape if stochastic else ()
        self.register_buffer("noise", torch.full(noisy_shape, 0.5), persistent=False)
        if is_weight and lr_scale == "glorot":
            latent = ParameterDefaults(weight_decay=0.0, lr_factor=glorot_factor(info.shape))
            self.parameter_defaults = {**self.parameter_defaults, "latent": latent}

    def encode(self, weight: Tensor) -> Tensor:
        """Return the weight, spread over [-1, 1] or cut to it."""
        if self.is_float:
            return weight
        if not self.spreads:
            return weight.clamp(-1, 1)
        largest = weight.abs().amax()
        return weight / torch.where(largest == 0, 1.0, largest)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize a weight, or an activation."""
        if self.is_identity:
            return latent
        return pass_inside(latent, self._value(latent.detach().float()), *self.bounds)

    @torch.no_grad()
    def on_progress(self, progress: Progress) -> None:
        """Draw what decides about stochastic weights, alike in every process."""
        if self.stochastic:
            key = f"{progress.seed} {progress.step} {self.info.layer}"
            generator = torch.Generator(self.noise.device).manual_seed(zlib.crc32(key.encode()))
            self.noise.uniform_(generator=generator)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Cut the latent to [-1, 1]: beyond, it would drift and never turn its sign."""
        if latent is not None and not self.is_float:
            latent.clamp_(-1, 1)

    def codebook(self) -> Tensor:
        """Return the levels in rising order: [K]; with 32 bits nothing."""
        return self.levels

    def codes(self, latent: Tensor) -> Tensor:
        """Return 0 for the lowest level, and so on."""
        x = latent.float()
        if self.binary:
            return (x >= 0).int()
        if self.is_log:
            return find_power(x, self.edges, self.signed)
        return (self._integers(x) - self.lo).int()

    def _value(self, x: Tensor) -> Tensor:
        if self.is_float:
            return x.clamp(*self.bounds).add_(0.0)
        if self.stochastic and self.training:
            return torch.where(self.noise < (x + 1) / 2, 1.0, -1.0)
        if self.binary:
            return signs(x)
        if self.is_log:
            return self.levels[find_power(x, self.edges, self.signed)]
        # Rounding leaves -0.0, which no codebook holds; adding 0.0 makes it 0.0.
        return self._integers(x).mul_(self.step).add_(0.0)

    def _integers(self, x: Tensor) -> Tensor:
        return (x / self.step).round_().clamp_(self.lo, self.hi)

    def _make_levels(self, bits: int) -> tuple[Tensor, Tensor]:
        if self.is_float:
            return torch.empty(0), torch.empty(0)
        if self.binary:
            return torch.tensor([-1.0, 1.0]), torch.empty(0)
        if self.is_log:
            return make_powers(bits, self.signed)
        return torch.arange(self.lo, self.hi + 1) * self.step, torch.empty(0)

    def _refuse(self, bits: int) -> None:
        is_weight = self.info.role == "weight"
        if is_weight and not self.signed:
            raise ValueError('weights have signs; leave "signed" out')
        if self.stochastic and not (is_weight and self.binary):
            raise ValueError('stochastic is for weights of 1 bit; leave "stochastic" out')
        if self.is_log and count_powers(bits, self.signed) > MOST_POWERS:
            raise ValueError(f"{bits} bits ask for powers of two too small for float32; set 6")
        if self.binary and self.info.nonnegative:
            raise ValueError(
                "the sign of what comes from a ReLU is always 1; set architecture_options "
                '{"activation": "hardtanh"} or {"block_order": "norm_first"}, or "signed": false'
            )


def glorot_factor(shape: tuple[int, ...]) -> float:
    """Return 1 / sqrt(1.5 / (fan_in + fan_out)) of a weight [O, I, ...]."""
    return math.sqrt((shape[0] + shape[1]) * math.prod(shape[2:]) / 1.5)
