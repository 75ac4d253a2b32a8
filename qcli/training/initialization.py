"""Draw the weights of a float network anew, where a method starts otherwise than the network.

The fan-out of a layer is the weights that one channel of its input meets: output channels x kernel.

Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010; He et al., Delving Deep into Rectifiers, ICCV 2015, arXiv:1502.01852;
    over the fan-out alone and uniform as CEA-LIST/N2D2's XavierFiller
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qcli.quantization.survey import TRANSPOSED, quantizable_layers
from qcli.training.keyed import keyed_generator


def draw_xavier(weight: Tensor, fan_out: int, generator: torch.Generator) -> None:
    """Draw from the uniform distribution of variance 1 / fan-out."""
    bound = (3 / fan_out) ** 0.5
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def draw_he(weight: Tensor, fan_out: int, generator: torch.Generator) -> None:
    """Draw from the normal distribution of variance 2 / fan-out."""
    nn.init.normal_(weight, 0, (2 / fan_out) ** 0.5, generator=generator)


_DRAWS: dict[str, Callable[[Tensor, int, torch.Generator], None]] = {
    "xavier_fan_out": draw_xavier,
    "he_fan_out": draw_he,
}


def initialize(model: nn.Module, initialization: str, seed: int) -> None:
    """Draw the weights of every convolution and linear layer, and set their biases to zero.

    Args:
        model: The float network, on the CPU.
        initialization: "xavier_fan_out" or "he_fan_out"; "default": the network's own start stays.
        seed: The draws depend on it, and on the order of the layers, alone.
    """
    if initialization == "default":
        return
    generator = keyed_generator("initialization", seed)
    for _, layer in quantizable_layers(model):
        weight, bias = layer.get_parameter("weight"), layer.bias
        _DRAWS[initialization](weight, _fan_out(layer, weight), generator)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def _fan_out(layer: nn.Module, weight: Tensor) -> int:
    in_axis = 0 if isinstance(layer, TRANSPOSED) else 1
    return weight.numel() // weight.shape[in_axis]
