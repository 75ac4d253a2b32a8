"""Categorical weight search."""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from torch import Tensor, nn

from qcli import Progress, Quantizer, Schedule, TensorInfo, expand_value_space
from qcli_categorical.options import ANNEALING

# Where a schedule reaches 0: the softmax would divide by it.
SMALLEST_TEMPERATURE = 1e-8


class CategoricalSearch(Quantizer):
    """Categorical weight search (SLB).

    Forward:   p = softmax(A / T) over the K values v of the space; soft: w = sum_j p_j v_j;
               hard and evaluation: w = v_argmax(A), the first of equals;
               gumbel: w = v_argmax(A + r G), G Gumbel noise, also inside the softmax
    Backward:  dw/dA_j = p_j (v_j - sum_i p_i v_i) / T in every mode
    Learned:   the logits A [K, O, I, H, W] in place of the weight; `scale` where it is asked for
    Starts at: uniform: log(1/K) + 1e-5 U(-1/2, 1/2); normal: N(0, 2 / fan_out);
               pretrained: A_j = -confidence * (w/c - v_j)^2, c the factor on the space that fits
               the weight best
    Source:    Yang et al., NeurIPS 2020, arXiv:2009.08695 (soft); the hard form with
               its defaults: DNN-weight-search (T = max(0.97^epoch, 1e-5))
    Differs:   the paper's linearly spaced value space is one of several forms.
    """

    values: Tensor
    temperature: Tensor
    noise: Tensor

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
    ) -> None:
        super().__init__(info)
        self.register_buffer(
            "values", torch.tensor(expand_value_space(value_space)), persistent=False
        )
        self.sampling = sampling
        self.temperature_schedule = Schedule.from_json(temperature)
        self.randomness_schedule = Schedule.from_json(randomness)
        automatic = "pretrained" if info.pretrained else "uniform"
        self.initial_logits = automatic if initial_logits == "auto" else initial_logits
        self.confidence = confidence
        self.register_buffer("temperature", torch.tensor(float(self.temperature_schedule.start)))
        noisy_shape = (len(self.values), *info.shape) if sampling == "gumbel" else ()
        self.register_buffer("noise", torch.zeros(noisy_shape), persistent=False)
        shape = info.channel_shape() if scale == "channel" else ()
        self.scale = nn.Parameter(torch.ones(shape)) if scale != "none" else None

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
            jitter = torch.rand(shape, device=weight.device) - 0.5
            return 1e-5 * jitter - math.log(len(self.values))
        if self.initial_logits == "normal":
            fan_out = weight.numel() / weight.shape[1 - self.info.channel_axis]
            return torch.randn(shape, device=weight.device) * math.sqrt(2 / fan_out)
        factor = self.scale if self.scale is not None else fit_scale(weight, self.values)
        values = self.values.reshape(-1, *[1] * weight.dim())
        return -self.confidence * (weight / factor - values).square()

    def forward(self, latent: Tensor) -> Tensor:
        """Return the weight that the logits choose: [O, I, H, W]."""
        mode = self.sampling if self.training else "hard"
        weight: Tensor = _Choose.apply(latent, self.values, self.temperature, self.noise, mode)
        return (weight if self.scale is None else weight * self.scale).to(latent.dtype)

    @torch.no_grad()
    def on_progress(self, progress: Progress) -> None:
        """Set the temperature; draw the noise of gumbel sampling, alike in every process."""
        self.temperature.fill_(max(self.temperature_schedule.at(progress), SMALLEST_TEMPERATURE))
        if self.sampling == "gumbel":
            self.noise.copy_(self._draw(progress) * self.randomness_schedule.at(progress))

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Keep the scale positive: an update may have carried it across 0."""
        if self.scale is not None:
            self.scale.clamp_(min=torch.finfo(torch.float32).eps)

    def codebook(self) -> Tensor:
        """Return the value space, times the scale: [K], or [O, K]."""
        if self.scale is None:
            return self.values
        scale = self.scale.detach()
        return self.values * (scale.flatten().unsqueeze(-1) if scale.dim() else scale)

    def codes(self, latent: Tensor) -> Tensor:
        """Return the index of the likeliest value, in the order of the value space."""
        return torch.argmax(latent, 0).int()

    def _draw(self, progress: Progress) -> Tensor:
        key = f"{progress.seed} {progress.step} {self.info.layer}"
        generator = torch.Generator(self.values.device).manual_seed(zlib.crc32(key.encode()))
        uniform = torch.rand(self.noise.shape, generator=generator, device=self.noise.device)
        return -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))


class _Choose(torch.autograd.Function):
    """Saves the logits alone, which live anyway, and recomputes the softmax."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, values: Tensor, temperature: Tensor, noise: Tensor, mode: str
    ) -> Tensor:
        ctx.save_for_backward(logits, values, temperature, noise)
        ctx.noisy = mode == "gumbel"
        if mode == "soft":
            return _expected(torch.softmax(logits.float() / temperature, 0), values)
        return _likeliest(logits + noise if ctx.noisy else logits, values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, values, temperature, noise = ctx.saved_tensors
        scores = logits + noise if ctx.noisy else logits
        chances = torch.softmax(scores.float() / temperature, 0)
        distance = _column(values, logits) - _expected(chances, values)
        by_logits = chances * distance * (gradient / temperature)
        return by_logits.to(logits.dtype), None, None, None, None


def _column(values: Tensor, logits: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (logits.dim() - 1))


def _expected(chances: Tensor, values: Tensor) -> Tensor:
    return (chances * _column(values, chances)).sum(0)


def _likeliest(scores: Tensor, values: Tensor) -> Tensor:
    """Return the value of the first of the largest scores; a loop beats argmax and a gather."""
    best, value = scores[0], values[0].expand_as(scores[0])
    for score, candidate in zip(scores[1:], values[1:], strict=True):
        value = torch.where(score > best, candidate, value)
        best = torch.maximum(score, best)
    return value


def fit_scale(weight: Tensor, values: Tensor, rounds: int = 20) -> Tensor:
    """Return the factor c on a value space that brings it nearest to a weight.

    Alternates the nearest value of every weight / c with the least-squares c for those values.

    Args:
        weight: float32, of any shape.
        values: float32 [K].
        rounds: Alternations at most.

    Returns:
        float32, 0-d, positive.
    """
    flat = weight.flatten()
    edges = values.sort().values
    middles = (edges[1:] + edges[:-1]) / 2
    scale = flat.abs().mean() / values.abs().mean().clamp(min=1e-12)
    for _ in range(rounds):
        nearest = edges[torch.bucketize(flat / scale.clamp(min=1e-12), middles)]
        scale = (flat @ nearest) / (nearest @ nearest).clamp(min=1e-12)
    return scale if bool(scale > 0) else torch.ones_like(scale)
