"""A network written as the list of its named layers, first to last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import groupby

from torch import nn


def chain_layers(layers: Mapping[str, nn.Module | None]) -> nn.Sequential:
    """Call the layers one after another; a layer that is None is left out."""
    return nn.Sequential(
        OrderedDict((name, layer) for name, layer in layers.items() if layer is not None)
    )


def chain_groups(layers: Mapping[str, nn.Module]) -> nn.Sequential:
    """Call the layers one after another; neighbors `part.name` become one child `part`."""
    groups: dict[str, nn.Module] = {}
    for part, names in groupby(layers, key=lambda name: name.rpartition(".")[0]):
        group = {name.rpartition(".")[2]: layers[name] for name in names}
        groups |= {part: chain_layers(group)} if part else group
    return chain_layers(groups)
