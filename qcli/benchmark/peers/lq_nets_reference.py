"""LQ-Nets in the data flow of its authors' program: the codes of all values as one matrix B.

Source: Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029, section 3.2; the moving average of 0.9
    and the ridge are those of github.com/microsoft/LQ-Nets
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qcli.benchmark.peers.convolution import QuantizedConvolution, replace_convolutions

MOVING_AVERAGE = 0.9
RIDGE = 1e-4
QUARTILE = 0.6745


class ReferenceLQ(nn.Module):
    """Quantizes to the sums of a basis that follows the values it meets.

    Args:
        basis: Float32 [R, K]: a row for each output channel of a weight, or one for an input.
        signed: Whether codes are of -1 and 1, as those of weights, or of 0 and 1.
    """

    basis: Tensor
    patterns: Tensor

    def __init__(self, basis: Tensor, *, signed: bool) -> None:
        super().__init__()
        bits = basis.shape[1]
        ones = (torch.arange(1 << bits).unsqueeze(1) >> torch.arange(bits)) & 1
        self.signed = signed
        self.register_buffer("basis", basis)
        self.register_buffer("patterns", (2 * ones - 1 if signed else ones).float())

    def forward(self, x: Tensor) -> Tensor:
        """Quantize with the basis as it is, then move it towards the fit to x."""
        with torch.no_grad():
            rows = x.reshape(len(self.basis), -1)
            levels, order = (self.basis @ self.patterns.T).sort(1)
            value, codes = self._choose(rows, levels, self.patterns[order])
            if self.training:
                self.basis.lerp_(self._fit(rows, codes), 1 - MOVING_AVERAGE)
            value = value.reshape(x.shape)
        passed = x if self.signed else x.clamp(max=float(levels[0, -1]))
        return passed + (value - passed).detach()

    def _choose(self, rows: Tensor, levels: Tensor, patterns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest levels [R, N] and their codes B [R, N, K]."""
        value = levels[:, :1].expand_as(rows)
        codes = patterns[:, :1].expand(-1, rows.shape[1], -1)
        for number in range(1, levels.shape[1]):
            middle = (levels[:, number - 1] + levels[:, number]) / 2
            above = rows > middle.unsqueeze(1)
            value = torch.where(above, levels[:, number, None], value)
            codes = torch.where(above.unsqueeze(2), patterns[:, number, None], codes)
        return value, codes

    def _fit(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Return (B'B + r I)^-1 (B'x + r v): [R, K]."""
        ridge = RIDGE * torch.eye(codes.shape[2], device=codes.device)
        products = codes.mT @ codes + ridge
        moments = codes.mT @ rows.unsqueeze(2) + RIDGE * self.basis.unsqueeze(2)
        fitted: Tensor = torch.linalg.solve(products, moments).squeeze(2)
        return fitted


def quantize_by_reference_lq(model: nn.Module, bits: int) -> None:
    """Quantize weights and inputs of every convolution behind the first, in place."""
    powers = 2.0 ** torch.arange(bits)

    def make(layer: nn.Conv2d) -> nn.Module:
        fan_out = layer.out_channels * math.prod(layer.kernel_size)
        unit = QUARTILE * math.sqrt(2 / fan_out) / 2 ** (bits - 1)
        weight = (unit * powers).repeat(layer.out_channels, 1)
        inputs = (2 * QUARTILE / (2**bits - 1) * powers).unsqueeze(0)
        return QuantizedConvolution(
            layer, ReferenceLQ(weight, signed=True), ReferenceLQ(inputs, signed=False)
        )

    replace_convolutions(model, make)
