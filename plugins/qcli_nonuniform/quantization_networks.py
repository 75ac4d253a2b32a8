"""Quantization networks: a staircase that training approaches from a sum of sigmoids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qcli import Progress, Quantizer, Schedule, TensorInfo, expand_value_space
from qcli_nonuniform.edges import find_edges, middles, sort_sample
from qcli_nonuniform.options import ANNEALING
from qcli_nonuniform.sigmoid_sum import count_edges, sum_sigmoids

# At 0 every value would be the middle one; where a schedule reaches infinity, 0 times it is no
# number.
SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE = 1e-3, 1e6
SMALLEST_GAIN, LARGEST_GAIN = 1e-30, 1e30


class QuantizationNetworks(Quantizer):
    """Quantization networks.

    Forward:   q = a (sum_i s_i g_i + Y_1), g_i = sigmoid(T (b x - e_i)), over the edges e_i of the
               values Y_1 < Y_2 ..., s_i = Y_(i+1) - Y_i; evaluation, and training with sampling
               hard: g_i = 1 where b x >= e_i, else 0
    Backward:  with the sigmoids in every mode: dq/dx = a b T sum_i s_i g_i (1 - g_i),
               dq/db = a x T sum_i s_i g_i (1 - g_i), dq/da = q / a
    Learned:   `input_gain` b and `output_scale` a, one per tensor, positive, without weight decay
    Starts at: b = 5 max|Y| / (4 max|x|), a = 1 / b, from the weight or the first calibration
               batch; with a `tail_fraction`, which is cut off at either end: b = max|Y| / max|x|;
               the edges as `edges` says, from b x, for good
    Source:    Yang et al., Quantization Networks, CVPR 2019, arXiv:1911.09464
    Differs:   the paper prints the gradients with a s_i g_i (a s_i - g_i) for s_i g_i (1 - g_i),
               which is no derivative. T is (epoch + 1) T0, epochs counted from 0, as in the
               authors' code: at T = 0 every value is the same. As there, T (b x - e_i) is clamped
               to +-10. `tail_fraction` and the slopes of T = 1: haoyz/quantization-networks-cifar10
               (seed 000); there the edge of k-means lies midway between samples, not centers.
    """

    levels: Tensor
    edges: Tensor
    temperature: Tensor
    observed: Tensor

    def __init__(
        self,
        info: TensorInfo,
        *,
        bits: int = 2,
        value_space: Any = None,
        sampling: str = "soft",
        temperature: Any = ANNEALING,
        edges: str = "paper",
        exponent_clamp: float | None = 10.0,
        backward_slope: str = "exact",
        tail_fraction: float = 0.0,
        learned: bool = True,
    ) -> None:
        super().__init__(info)
        self.is_weight = info.role == "weight"
        space = _default_space(bits, self.is_weight) if value_space is None else value_space
        # Adding 0.0: a value space may hold -0.0.
        levels = torch.tensor(sorted(expand_value_space(space))) + 0.0
        self.register_buffer("levels", levels, persistent=False)
        self.hard = sampling == "hard"
        self.temperature_schedule = Schedule.from_json(temperature)
        self.edge_rule = edges
        self.exponent_clamp = exponent_clamp
        self.backward_slope = backward_slope
        self.tail_fraction = 0.0 if self.is_weight else tail_fraction
        self.register_buffer("edges", middles(levels))
        self.register_buffer("temperature", torch.tensor(float(self.temperature_schedule.start)))
        self.register_buffer("observed", torch.zeros((), dtype=torch.bool))
        self.input_gain = nn.Parameter(torch.ones(()), learned)
        self.output_scale = nn.Parameter(torch.ones(()), learned)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Start gain, scale and edges from the weight, or from the first batch."""
        if not self.is_weight and bool(self.observed):
            return
        values = sort_sample(x.float(), self.tail_fraction)
        # A sample without tails need not hold the largest value.
        largest = values.abs().max() if self.tail_fraction else x.abs().max()
        gain = self._find_gain(float(largest))
        self.input_gain.fill_(gain)
        self.output_scale.fill_(1 / gain)
        edges = find_edges(self.edge_rule, self.levels, values * gain, self.is_weight)
        self.edges.copy_(edges)
        self.observed.fill_(True)

    def forward(self, latent: Tensor) -> Tensor:
        """Quantize; the gradients of gain and scale are summed in float32."""
        value = sum_sigmoids(
            latent.float(),
            self.input_gain,
            self.output_scale,
            levels=self.levels,
            edges=self.edges,
            temperature=self.temperature,
            exponent_clamp=self.exponent_clamp,
            backward_slope=self.backward_slope,
            hard=self.hard or not self.training,
        )
        return value.to(latent.dtype)

    @torch.no_grad()
    def on_progress(self, progress: Progress) -> None:
        """Set the temperature."""
        wanted = self.temperature_schedule.at(progress)
        self.temperature.fill_(min(max(wanted, SMALLEST_TEMPERATURE), LARGEST_TEMPERATURE))

    @torch.no_grad()
    def after_step(self, latent: Tensor | None) -> None:
        """Keep gain and scale positive: an update may have carried them across 0."""
        for parameter in (self.input_gain, self.output_scale):
            parameter.clamp_(min=torch.finfo(torch.float32).eps)

    def health(self, latent: Tensor | None) -> dict[str, float]:
        """Return the scale, which collapses where its learning rate is too large; the gain."""
        return {"scale": float(self.output_scale.detach()), "gain": float(self.input_gain.detach())}

    def codebook(self) -> Tensor:
        """Return the value space times the scale, ascending: [K]."""
        return self.levels * self.output_scale.detach()

    def codes(self, latent: Tensor) -> Tensor:
        """Return how many edges a value has reached: 0 for the lowest level."""
        return count_edges(self.input_gain * latent.float(), self.edges)

    def _find_gain(self, largest: float) -> float:
        """Return the gain that brings the largest magnitude to the end of the value space."""
        reach = 1.0 if self.tail_fraction else 1.25
        # A layer of zeros has no scale: any does.
        gain = reach * float(self.levels.abs().max()) / (largest or 1.0)
        return min(max(gain, SMALLEST_GAIN), LARGEST_GAIN)


def _default_space(bits: int, is_weight: bool) -> tuple[int, ...]:
    if not is_weight:
        return tuple(range(1 << bits))
    if bits == 1:
        return (-1, 1)
    highest = (1 << bits - 1) - 1
    return tuple(range(-highest, highest + 1))
