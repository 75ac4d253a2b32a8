"""A network written as the list of its named layers, first to last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import nn


def chain_layers(layers: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """Call the layers one after another; a layer that is None is left out."""
    return nn.Sequential(
        OrderedDict((name, layer) for name, layer in layers.items() if layer is not None)
    )
