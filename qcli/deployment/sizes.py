"""How many bytes each layer of a graph takes in a packed file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from qcli.deployment.graph import Convolution, Graph, Linear
from qcli.deployment.graph_json import store_arrays

FLOAT_BYTES = 4


@dataclass(frozen=True)
class LayerSize:
    """The size of one layer.

    Args:
        name: Of the layer, or of the image for what is done before the first one.
        weights: How many.
        packed_bytes: Their codes, in all planes, and the integers that the codes stand for.
        side_bytes: Multipliers, biases, boundaries and tables of what follows the layer.
    """

    name: str
    weights: int
    packed_bytes: int
    side_bytes: int

    @property
    def float_bytes(self) -> int:
        """What the weights take as float32."""
        return self.weights * FLOAT_BYTES


def count_sizes(graph: Graph) -> list[LayerSize]:
    """Return the sizes of all layers, in the order of the graph.

    What follows a layer, up to the next ones, counts as the side of it; where several layers meet,
    of the first. The header of the file comes on top.
    """
    owners = {graph.image.name: graph.image.name}
    weights: dict[str, int] = {}
    packed: dict[str, int] = defaultdict(int)
    side: dict[str, int] = defaultdict(int)
    for node in graph.nodes:
        size_bytes = sum(stored.size_bytes for stored in store_arrays(node).values())
        if isinstance(node, Convolution | Linear):
            owner = owners[node.name] = node.layer or node.name
            weights[owner] = node.weight.size
            packed[owner] += size_bytes
        else:
            owner = owners[node.name] = owners[node.inputs[0]]
            side[owner] += size_bytes
    names = [name for name in dict.fromkeys(owners.values()) if weights.get(name) or side[name]]
    return [LayerSize(name, weights.get(name, 0), packed[name], side[name]) for name in names]
