"""Collect the nodes of a graph while a network is walked, and the faults that it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qcli.deployment.graph import Node, Tensor

# A threshold that is never reached is one more, and must fit 32 bits, too.
WIDEST_SUM = (1 << 31) - 2


class Fault(Exception):
    """One thing that keeps a network from being integers: where, what, what to do."""


@dataclass
class Builder:
    """A graph that grows.

    Args:
        image: Its input.
        nodes: In the order in which they run.
        faults: One line each.
    """

    image: Tensor
    nodes: list[Node] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(
        self,
        kind: Any,
        name: str,
        inputs: tuple[Tensor, ...],
        shape: tuple[int, ...],
        **fields: Any,
    ) -> Tensor:
        """Add a node that keeps the range of its inputs, or has `bounds`, and return its tensor."""
        low, high = fields.pop("bounds", None) or _join(inputs)
        if max(-low, high) > WIDEST_SUM:
            raise Fault(f"{name}: sums reach {max(-low, high):,}, more than 32 bits hold")
        tensor = Tensor(self._new_name(name), shape, low, high)
        self.nodes.append(kind(tuple(each.name for each in inputs), tensor, **fields))
        return tensor

    def _new_name(self, name: str) -> str:
        taken = {self.image.name, "logits", *(node.name for node in self.nodes)}
        number, candidate = 2, name
        while candidate in taken:
            candidate, number = f"{name}~{number}", number + 1
        return candidate


def _join(inputs: tuple[Tensor, ...]) -> tuple[int, int]:
    return min(each.low for each in inputs), max(each.high for each in inputs)
