"""The activations that every network of this package can be built with.

A network names its activation modules `relu`, `relu1`, ... whichever is chosen, so that recipes and
state dicts need not know. Each module is called once in a forward pass: a quantizer attached to it
sees one tensor.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardtanh": nn.Hardtanh,
    "prelu": nn.PReLU,
    "identity": nn.Identity,
}


def make_activation(name: str) -> nn.Module:
    """Return a fresh activation module; PReLU learns one slope."""
    return ACTIVATIONS[name]()
