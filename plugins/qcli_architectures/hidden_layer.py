"""The hidden layers of a chain, each with its norm, activation and pooling, in either block order.

A network says once what belongs to each layer; the order of these parts follows from the block
order. With the norms first, the norm before a layer sees the channels of the layer before it, and
behind the last hidden layer stand the parts of the other order, for they feed the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, make_leading_norm

Order = tuple[str, ...]

# Where "after", the pooling in most layers, stands when the norms are last.
LAYER_POOL_NORM: Order = ("layer", "after", "norm", "relu")
LAYER_NORM_POOL: Order = ("layer", "norm", "after", "relu")
LAYER_NORM_RELU_POOL: Order = ("layer", "norm", "relu", "after")


@dataclass(frozen=True)
class HiddenLayer:
    """A layer other than the last, and what belongs to it.

    Args:
        name: Dotted name of the layer; its other parts stand in the same part of the network.
        number: Ends the names of its activation and its norm: `relu2`, `bn2`; that of the last
            hidden layer is whole.
        layer: Itself.
        norm: Behind it, when the norms are last; None: there is none.
        norm_name: Name of that norm, where it is not made of the number.
        leading: Before it, when the norms are first; None: the norm that fits the layer before.
        before: Between that norm and the layer, by dotted name.
        after: Behind the layer, by dotted name.
    """

    name: str
    number: str
    layer: nn.Conv2d | nn.Linear
    norm: nn.Module | None = None
    norm_name: str = ""
    leading: nn.Module | None = None
    before: Mapping[str, nn.Module] = field(default_factory=dict)
    after: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Output channels, or features."""
        layer = self.layer
        return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features

    def place(self, name: str) -> str:
        """Return the dotted name of a part that stands beside the layer."""
        group, dot, _ = self.name.rpartition(".")
        return f"{group}{dot}{name}"


@dataclass(frozen=True)
class Orders:
    """The orders of the parts of the first, the inner and the last hidden layers."""

    first: Order
    inner: Order
    last: Order


def order_parts(block_order: str, norm_last: Order, last: Order | None = None) -> Orders:
    """Return the orders of a network.

    Args:
        block_order: `norm_last` or `norm_first`.
        norm_last: The order of the parts when the norms are last.
        last: That of the last hidden layer, where it differs.
    """
    last = last or norm_last
    if block_order == NORM_FIRST:
        inner = ("leading", "layer", "relu", "after")
        return Orders(norm_last, inner, ("leading", *last))
    return Orders(norm_last, norm_last, last)


def arrange_hidden(
    hidden: Sequence[HiddenLayer], activation: str, orders: Orders
) -> dict[str, nn.Module]:
    """Return the parts of all hidden layers by dotted name, in the order of their calls."""
    chain = _arrange(hidden[0], activation, orders.first, {})
    for previous, each in pairwise(hidden):
        order = orders.last if each is hidden[-1] else orders.inner
        chain |= _arrange(each, activation, order, _lead(previous, each))
    return chain


def _arrange(
    hidden: HiddenLayer, activation: str, order: Order, leading: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    norm_name = hidden.norm_name or f"bn{hidden.number}"
    if "leading" in order and "norm" in order:
        # The layer's own norm feeds the next layer, and has its number.
        norm_name = f"bn{int(hidden.number) + 1}"
    parts: dict[str, Mapping[str, nn.Module]] = {
        "leading": leading,
        "layer": {**hidden.before, hidden.name: hidden.layer},
        "norm": {hidden.place(norm_name): hidden.norm} if hidden.norm else {},
        "relu": {hidden.place(f"relu{hidden.number}"): make_activation(activation)},
        "after": hidden.after,
    }
    return {name: module for part in order for name, module in parts[part].items()}


def _lead(previous: HiddenLayer, hidden: HiddenLayer) -> dict[str, nn.Module]:
    after_linear = isinstance(previous.layer, nn.Linear)
    norm = hidden.leading or make_leading_norm(previous.width, after_linear)
    return {hidden.place(f"bn{hidden.number}"): norm}
