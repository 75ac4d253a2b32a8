"""What an exporter receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qcli.deployment.graph import Graph

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Deployment:
    """A trained network, ready to be written in another form.

    Args:
        name: Of the run, for titles: letters, digits and underscores.
        model: The float32 network with its quantizers, in eval mode, on the CPU.
        image_shape: (C, H, W).
        graph: The same network as integers; None where it was not lowered.
        preprocessing: How pixels 0 to 255 become the network's input, (pixel / 255 - mean) / std
            of each channel: JSON {"mean": [...], "std": [...]}.
    """

    name: str
    model: nn.Module
    image_shape: tuple[int, int, int]
    graph: Graph | None
    preprocessing: Mapping[str, Any]

    @property
    def integers(self) -> Graph:
        """The integer graph of an exporter that asked for it."""
        assert self.graph is not None
        return self.graph
