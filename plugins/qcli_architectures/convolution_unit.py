"""A convolution with its norm and its activation, in either block order."""

from __future__ import annotations

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, make_leading_norm
from qcli_architectures.chain import chain_layers


def make_unit(
    convolution: nn.Conv2d,
    norm: nn.Module | None,
    activation: str,
    block_order: str,
    *,
    names: tuple[str, str] = ("conv", "bn"),
    pool: nn.Module | None = None,
) -> nn.Sequential:
    """Return convolution, pooling, norm, activation; or norm, convolution, activation, pooling.

    Args:
        convolution: The layer.
        norm: Of the order that ends with it; the other order has a norm of its own kind.
        activation: A name of `ACTIVATIONS`.
        block_order: "norm_last" or "norm_first".
        names: Of the convolution and of the norm; the activation is `relu`.
        pool: None where nothing is pooled.
    """
    layer, norm_name = names
    relu = make_activation(activation)
    if block_order == NORM_FIRST:
        leading = make_leading_norm(convolution.in_channels)
        return chain_layers({norm_name: leading, layer: convolution, "relu": relu, "pool": pool})
    return chain_layers({layer: convolution, "pool": pool, norm_name: norm, "relu": relu})
