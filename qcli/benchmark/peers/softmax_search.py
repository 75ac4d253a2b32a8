"""Search for low-bit weights by autograd through a softmax over the logits of K values.

Source: Yang et al., Searching for Low-Bit Weights in Quantized Neural Networks, NeurIPS 2020,
    arXiv:2009.08695, equations 5 to 7; hard: as DNN-weight-search trains
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from qcli.benchmark.peers.convolution import QuantizedConvolution, replace_convolutions


class SoftmaxChoice(nn.Module):
    """Makes a weight of logits [K, O, I, H, W].

    Args:
        values: The K values.
        hard: Whether forward takes the likeliest value, with the gradient of the expected one.
    """

    values: Tensor

    def __init__(self, values: Sequence[float], *, hard: bool) -> None:
        super().__init__()
        self.hard = hard
        self.temperature = 1.0
        self.register_buffer("values", torch.tensor(values).reshape(-1, 1, 1, 1, 1))

    def forward(self, logits: Tensor) -> Tensor:
        """Return the weight [O, I, H, W]."""
        chances = torch.softmax(logits / self.temperature, 0)
        if self.hard:
            likeliest = one_hot(chances.argmax(0), len(chances)).movedim(-1, 0)
            chances = likeliest - chances.detach() + chances
        return (chances * self.values).sum(0)


def quantize_by_softmax_search(model: nn.Module, values: Sequence[float], *, hard: bool) -> None:
    """Search the weights of every convolution behind the first, in place."""

    def make(layer: nn.Conv2d) -> nn.Module:
        found = QuantizedConvolution(layer, SoftmaxChoice(values, hard=hard))
        logits = 0.01 * torch.randn(len(values), *layer.weight.shape)
        found.latent = nn.Parameter(logits.to(layer.weight.device))
        return found

    replace_convolutions(model, make)
