"""Quantize sums before they are pooled, not after: a code takes less memory than a sum.

A quantizer that never falls commutes with the greatest of a window, any quantizer with a new
shape, and a change of signs goes into its multipliers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from qcli.deployment.graph import Graph, MaxPool, Node, Quantize, Reshape, Signs, Tensor


def quantize_early(graph: Graph) -> list[Node]:
    """Return nodes that compute the same tensors, with quantizers next to products.

    What a quantizer made keeps its name; a pool or a new shape may now make it.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node, Quantize) and len(node.inputs) == 1:
            _insert(node, nodes, uses, graph.tensors)
        else:
            nodes[node.name] = node
    return list(nodes.values())


def _insert(
    node: Quantize, nodes: dict[str, Node], uses: Counter[str], tensors: dict[str, Tensor]
) -> None:
    """Add a quantization, before the node that it reads where that is possible and better."""
    (name,) = node.inputs
    before = nodes.get(name) if uses[name] == 1 else None
    if before is None or before.inputs[0] not in nodes:
        nodes[node.name] = node
        return
    source = tensors[before.inputs[0]]
    moved = _move(node, before, source)
    if moved is None:
        nodes[node.name] = node
        return
    del nodes[name]
    _insert(moved, nodes, uses, tensors)
    if moved.name != node.name:
        nodes[node.name] = replace(before, inputs=(moved.name,), output=node.output)


def _move(node: Quantize, before: Node, source: Tensor) -> Quantize | None:
    """Return the quantization of what the node before reads, or None."""
    output = replace(node.output, name=f"{node.name}, before {before.name}", shape=source.shape)
    inner = replace(node, inputs=before.inputs, output=output)
    match before:
        case Signs():
            return replace(node, inputs=before.inputs, multipliers=node.multipliers * before.signs)
        case MaxPool() if _never_falls(node) and _is_narrower(node.output, source):
            return inner
        case Reshape():
            return _merge_channels(inner, source.shape[0])
    return None


def _never_falls(node: Quantize) -> bool:
    return bool((node.multipliers >= 0).all() and (np.diff(node.levels) >= 0).all())


def _is_narrower(one: Tensor, other: Tensor) -> bool:
    return np.dtype(one.dtype).itemsize < np.dtype(other.dtype).itemsize


def _merge_channels(node: Quantize, channels: int) -> Quantize | None:
    """Return the quantization with the numbers of the channels that became several, or None."""
    count = len(node.bias)
    if count % channels:
        return None
    firsts = np.arange(0, count, count // channels)
    repeated = firsts.repeat(count // channels)
    numbers = (node.multipliers.T, node.bias, node.shift, node.boundaries)
    if not all(np.array_equal(each, each[repeated]) for each in numbers):
        return None
    return replace(
        node,
        multipliers=node.multipliers[:, firsts],
        bias=node.bias[firsts],
        shift=node.shift[firsts],
        boundaries=node.boundaries[firsts],
    )
