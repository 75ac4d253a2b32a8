"""LSQ as one operation after the other, with autograd's derivative of each.

Source: Esser et al., Learned Step Size Quantization, ICLR 2020, arXiv:1902.08153, appendix B
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qcli.benchmark.peers.convolution import QuantizedConvolution, replace_convolutions


class NaiveLSQ(nn.Module):
    """Quantizes to the multiples of a learned step.

    Args:
        lo: The lowest code.
        hi: The highest code.
    """

    def __init__(self, lo: int, hi: int) -> None:
        super().__init__()
        self.lo, self.hi = lo, hi
        self.step_size = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Quantize; the step starts at 2 mean|x| / sqrt(hi) of the first tensor."""
        if not self.step_size:
            self.step_size.data.copy_(2 * x.detach().abs().mean() / math.sqrt(self.hi))
        step = _scale_gradient(self.step_size, 1 / math.sqrt(x.numel() * self.hi))
        code = _round((x / step).clamp(self.lo, self.hi))
        return code * step


def _scale_gradient(x: Tensor, scale: float) -> Tensor:
    return (x - x * scale).detach() + x * scale


def _round(x: Tensor) -> Tensor:
    return (x.round() - x).detach() + x


def quantize_by_naive_lsq(model: nn.Module, bits: int) -> None:
    """Quantize weights and inputs of every convolution behind the first, in place."""
    half = 1 << bits - 1

    def make(layer: nn.Conv2d) -> nn.Module:
        return QuantizedConvolution(layer, NaiveLSQ(-half, half - 1), NaiveLSQ(0, 2 * half - 1))

    replace_convolutions(model, make)
