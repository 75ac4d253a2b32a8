"""Compare what two forms of a network computed, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from qcli.deployment.graph import Convolution, Graph, Linear, Logits, Quantize

Results = Mapping[str, NDArray[Any]]


@dataclass
class Agreement:
    """How often a form equals the reference, over batches.

    Args:
        wrong: Different integers by tensor, in the order of the network.
        compared: Integers compared by tensor.
        argmax: Images whose class is the reference's.
        right: Images whose class is the label.
        images: Images compared.
    """

    wrong: dict[str, int] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)
    argmax: int = 0
    right: int = 0
    images: int = 0

    def add(self, form: Results, reference: Results, labels: NDArray[Any]) -> None:
        """Count a batch."""
        for name, values in reference.items():
            if name in form:
                self.wrong[name] = self.wrong.get(name, 0) + _differences(form[name], values)
                self.compared[name] = self.compared.get(name, 0) + values.size
        classes = form["logits"].argmax(1)
        self.argmax += int((classes == reference["logits"].argmax(1)).sum())
        self.right += int((classes == labels).sum())
        self.images += len(labels)

    @property
    def first_divergence(self) -> str | None:
        """The first tensor that differs."""
        return next((name for name, count in self.wrong.items() if count), None)

    @property
    def is_exact(self) -> bool:
        """Whether every integer of every tensor is equal."""
        return self.first_divergence is None


def _differences(values: NDArray[Any], reference: NDArray[Any]) -> int:
    if values.shape != reference.shape:
        return reference.size
    return int((values != reference).sum())


def find_layers(graph: Graph, name: str) -> list[str]:
    """Return the layers whose weights a tensor depends on, up to the quantizers before them."""
    made = {node.name: node for node in graph.nodes}
    found: list[str] = []
    waiting = list(made[name].inputs) if name in made else []
    while waiting:
        node = made.get(waiting.pop(0))
        if node is None or isinstance(node, Quantize | Logits):
            continue
        if isinstance(node, Convolution | Linear) and node.layer not in found:
            found.append(node.layer)
        waiting += node.inputs
    return found
