"""Kaiming-normal initialization: over the fan-in for CIFAR networks, the fan-out for ResNets.

Source: He et al., Delving Deep into Rectifiers, ICCV 2015, arXiv:1502.01852
"""

from __future__ import annotations

from torch import nn


def initialize_fan_in(network: nn.Module) -> None:
    """Draw the weights of every convolution and linear layer with variance 2 / fan-in."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")


def initialize_fan_out(network: nn.Module) -> None:
    """Draw the weights of every convolution with variance 2 / fan-out, as torchvision does."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
