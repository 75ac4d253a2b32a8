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
        """Count a batch; what a form does not tell, or tells in another shape, is wrong."""
        for name, values in reference.items():
            self.count(name, count_differences(form.get(name), values), values.size)
        scores = form.get("logits")
        known = scores if _is_alike(scores, reference["logits"]) else None
        self.count_classes(known, reference["logits"], labels)

    def count(self, name: str, different: int, size: int) -> None:
        """Count the integers of a tensor."""
        self.wrong[name] = self.wrong.get(name, 0) + different
        self.compared[name] = self.compared.get(name, 0) + size

    def count_classes(
        self, scores: NDArray[Any] | None, reference: NDArray[Any], labels: NDArray[Any]
    ) -> None:
        """Count the images of which scores name the same class, and the right one."""
        self.images += len(labels)
        if scores is None:
            return
        classes = scores.argmax(1)
        self.argmax += int((classes == reference.argmax(1)).sum())
        self.right += int((classes == labels).sum())

    @property
    def first_divergence(self) -> str | None:
        """The first tensor that differs."""
        return next((name for name, count in self.wrong.items() if count), None)

    @property
    def is_exact(self) -> bool:
        """Whether there was something to compare, and all of it is equal."""
        return bool(self.compared) and self.first_divergence is None

    @property
    def top1(self) -> float:
        """Share of images whose class is the label, 0..1."""
        return self.right / max(1, self.images)

    @property
    def same_class(self) -> float:
        """Share of images whose class is the reference's, 0..1."""
        return self.argmax / max(1, self.images)


def _is_alike(values: NDArray[Any] | None, reference: NDArray[Any]) -> bool:
    return values is not None and values.shape == reference.shape and values.dtype.kind in "iu"


def count_differences(values: NDArray[Any] | None, reference: NDArray[Any]) -> int:
    """Return how many integers differ: all of them where there are none of that shape."""
    if values is None or not _is_alike(values, reference):
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
