"""Categorical weight search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcli import Progress, Quantizer, Schedule, TensorInfo, expand_value_space
from qcli_categorical.choice import choose_values, expected_values
from qcli_categorical.fitting import fit_scale
from qcli_categorical.growth import check_growth, open_values
from qcli_categorical.options import ANNEALING
from qcli_categorical.starting import (
    draw_gumbel,
    normal_logits,
    pretrained_logits,
    uniform_logits,
)

# Where a schedule reaches 0: the softmax would divide by it.
SMALLEST_TEMPERATURE = 1e-8
# The lead of a final choice over the other logits: no single update of an optimizer bridges it.
LEAD = 100.0


class CategoricalSearch(Quantizer):
    """Categorical weight search (SLB).

    Forward:   p = softmax(A / T) over the K values v of the space; soft: w = sum_j p_j v_j;
               hard and evaluation: w = v_argmax(A), the first of equals;
               gumbel: w = v_argmax(A + r G), G Gumbel noise, also inside the softmax;
               from `hard_from_fraction` on: w = v_argmax(A) in every mode;
               `growth_fractions`: A_j = -inf for values of bits that are not open yet
    Backward:  dw/dA_j = p_j (v_j - sum_i p_i v_i) / T in every mode; 0 from
               `hard_from_fraction` on
    Learned:   the logits A [K, O, I, H, W] in place of the weight; `scale` where it is asked for
    Starts at: uniform: log(1/K) + 1e-5 U(-1/2, 1/2); normal: N(0, 2 / (K fan_out));
               pretrained: A_j = -confidence * (w/c - v_j)^2, c the factor on the space that fits
               the weight best
    Source:    Yang et al., NeurIPS 2020, arXiv:2009.08695 (soft); the hard form with
               its defaults: DNN-weight-search (T = max(0.97^epoch, 1e-5))
    Differs:   the paper's linearly spaced value space is one of several forms. A final choice
               makes the logits one-hot, so that momentum and decay cannot change it. While the
               space grows, bits that were open before stay free, where DNN-weight-search
               (--active-bit) freezes them and starts a run for each bit.
    """

    values: Tensor
    temperature: Tensor
    randomness: Tensor
    noise: Tensor
    closed: Tensor | None
    final: Tensor | None

    def __init__(
        self,
        info: TensorInfo,
        *,
        value_space: Any = (-1, 1),
        sampling: str = "hard",
        temperature: Any = ANNEALING,
        randomness: Any = 1.0,
        initial_logits: str = "auto",
        confidence: float = 1.0,
        scale: str = "none",
        hard_from_fraction: float = 1.0,
        growth_fractions: Sequence[float] = (),
        growth_order: str = "spread",
    ) -> None:
        super().__init__(info)
        if scale == "none" and info.followed_by is not None and not info.before_norm:
            raise ValueError(
                f"no batch norm follows the layer ({info.followed_by} does), so that nothing fits "
                'the range of the value space; set "scale": "tensor" or "channel"'
            )
        values = torch.tensor(expand_value_space(value_space))
        check_growth(growth_fractions, len(values))
        self.register_buffer("values", values, persistent=False)
        self.sampling = sampling
        self.temperature_schedule = Schedule.from_json(temperature)
        self.randomness_schedule = Schedule.from_json(randomness)
        automatic = "pretrained" if info.pretrained else "uniform"
        self.initial_logits = automatic if initial_logits == "auto" else initial_logits
        self.confidence = confidence
        self.register_buffer("temperature", torch.tensor(float(self.temperature_schedule.start)))
        self.register_buffer("randomness", torch.zeros(()), persistent=False)
        noisy_shape = (len(self.values), *info.shape) if sampling == "gumbel" else ()
        self.register_buffer("noise", torch.zeros(noisy_shape), persistent=False)
        shape = info.channel_shape() if scale == "channel" else ()
        self.scale = nn.Parameter(torch.ones(shape)) if scale != "none" else None
        self.hard_from_fraction = hard_from_fraction
        final = torch.zeros((), dtype=torch.bool) if hard_from_fraction < 1 else None
        self.register_buffer("final", final, persistent=False)
        # The same for the host, which would have to wait for the device's.
        self.is_final = False
        self.growth_fractions = tuple(growth_fractions)
        self.growth_order = growth_order
        # 0, or -inf where a value is not open yet; kept with the state: evaluation needs it.
        column = torch.zeros(len(values), *[1] * len(info.shape))
        self.register_buffer("closed", column if growth_fractions else None)
        self._open(1)
        if self.closed is not None and sampling == "gumbel":
            self.noise.copy_(self.closed.expand_as(self.noise))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Fit the scale, where there is one, to the weight."""
        if self.scale is not None:
            rows = x.movedim(self.info.channel_axis, 0).flatten(1) if self.scale.dim() else x
            rows = rows.reshape(self.scale.numel(), -1)
            fits = torch.stack([fit_scale(row, self.values) for row in rows])
            self.scale.copy_(fits.reshape(self.scale.shape))

    @torch.no_grad()
    def encode(self, weight: Tensor) -> Tensor:
        """Return the logits [K, *weight.shape]."""
        shape = (len(self.values), *weight.shape)
        if self.initial_logits == "uniform":
            return uniform_logits(shape, weight.device)
        if self.initial_logits == "normal":
            return normal_logits(shape, self.info.channel_axis, weight.device)
        factor = self.scale if self.scale is not None else fit_scale(weight, self.values)
        return pretrained_logits(weight, factor, self.values, self.confidence)

    def forward(self, latent: Tensor) -> Tensor:
        """Return the weight that the logits choose: [O, I, H, W]."""
        sampling = self.sampling if self.training else "hard"
        shift = self.noise if sampling == "gumbel" else self.closed
        final = self.final if self.training else None
        weight = choose_values(
            latent, self.values, self.temperature, shift, final, sampling == "soft"
        )
        return (weight if self.scale is None else weight * self.scale).to(latent.dtype)

    @torch.no_grad()
    def on_progress(self, progress: Progress) -> None:
        """Set the temperature, the open bits and the phase; draw noise alike in every process."""
        self.temperature.fill_(max(self.temperature_schedule.at(progress), SMALLEST_TEMPERATURE))
        self._open(1 + sum(progress.fraction >= each for each in self.growth_fractions))
        self.is_final = progress.fraction >= self.hard_from_fraction
        if self.final is not None:
            self.final.fill_(self.is_final)
        if self.sampling == "gumbel":
            self.randomness.fill_(0.0 if self.is_final else self.randomness_schedule.at(progress))
            key = f"{progress.seed} {progress.step} {self.info.layer}"
            noise = draw_gumbel(self.noise.shape, key, self.noise.device) * self.randomness
            self.noise.copy_(noise if self.closed is None else noise + self.closed)

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Keep the scale positive, which an update may have carried across 0; settle the choice."""
        if self.scale is not None:
            self.scale.clamp_(min=torch.finfo(torch.float32).eps)
        if latent is not None and self.final is not None and self.is_final:
            chosen = self.codes(latent).long().unsqueeze(0)
            latent.zero_().scatter_(0, chosen, LEAD)

    @torch.no_grad()
    def health(self, latent: Tensor | None) -> dict[str, float]:
        """Return how undecided the choice is that training mixes or draws: 0 not, 1 wholly.

        Hard sampling trains with what is deployed, however near the second choice is, and
        `hard_from_fraction` settles the choice whatever the logits are.
        """
        if latent is None or self.sampling == "hard" or self.final is not None:
            return {}
        # The largest of A + r G is A_j with the chance softmax(A / r)_j.
        spread = self.temperature if self.sampling == "soft" else self.randomness
        scores = latent.float() / spread.clamp(min=SMALLEST_TEMPERATURE)
        scores = scores if self.closed is None else scores + self.closed
        num_open = len(scores) if self.closed is None else int(self.closed.isfinite().sum())
        entropy = torch.special.entr(torch.softmax(scores, 0)).sum(0).mean()
        return {"entropy": float(entropy) / math.log(num_open)}

    def codebook(self) -> Tensor:
        """Return the value space, times the scale: [K], or [O, K]."""
        if self.scale is None:
            return self.values
        scale = self.scale.detach()
        return self.values * (scale.flatten().unsqueeze(-1) if scale.dim() else scale)

    def continuous(self, latent: Tensor) -> Tensor:
        """Return the expected value at the temperature of the last step: [O, I, H, W]."""
        scores = latent.float() if self.closed is None else latent.float() + self.closed
        expected = expected_values(scores, self.values, self.temperature)
        return expected if self.scale is None else expected * self.scale.detach()

    def codes(self, latent: Tensor) -> Tensor:
        """Return the index of the likeliest value, in the order of the value space."""
        scores = latent if self.closed is None else latent + self.closed
        return torch.argmax(scores, 0).int()

    def _open(self, bits: int) -> None:
        if self.closed is not None:
            is_open = open_values(self.values, bits, self.growth_order)
            self.closed.copy_(torch.where(is_open, 0.0, -math.inf).reshape(self.closed.shape))
