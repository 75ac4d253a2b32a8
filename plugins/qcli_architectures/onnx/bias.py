"""Biases that ONNX files add behind a layer, given back to the layer. No torch in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from qcli_architectures.onnx.node import Array, Node


def merge_biases(nodes: Sequence[Node], output: str) -> list[Node]:
    """Return the nodes with each constant that is added to a layer as the layer's third input.

    Args:
        nodes: In an order in which they can be computed.
        output: The value that is returned.
    """
    uses = Counter(name for node in nodes for name in node.sources)
    uses[output] += 1
    layers = {node.output: node for node in nodes if _lacks_bias(node) and uses[node.output] == 1}
    merged: dict[str, Node] = {}
    for node in nodes:
        if node.op == "Add" and len(node.sources) == 1:
            layer, bias = layers.get(node.sources[0]), _other(node)
            if layer and _fits(layer, node.constants[bias]):
                inputs = (*layer.inputs[:2], bias)
                merged[layer.output] = replace(layer, inputs=inputs, output=node.output)
    gone = {node.output for node in merged.values()}
    return [merged.get(node.output, node) for node in nodes if node.output not in gone]


def _lacks_bias(node: Node) -> bool:
    has_weight = len(node.inputs) > 1 and node.inputs[1] in node.constants
    return has_weight and node.op in ("Conv", "MatMul") and not any(node.inputs[2:])


def _other(node: Node) -> str:
    return next((name for name in node.inputs if name in node.constants), "")


def _fits(layer: Node, bias: Array) -> bool:
    """Whether a constant holds one number for each output channel, along their axis."""
    weight = layer.constants[layer.inputs[1]]
    if layer.op == "MatMul":
        return weight.ndim == 2 and bias.ndim > 0 and bias.shape[-1] == bias.size == weight.shape[1]
    return bias.ndim >= 3 and bias.shape[-3] == bias.size == weight.shape[0]
