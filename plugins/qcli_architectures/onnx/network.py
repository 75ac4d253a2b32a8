"""Build a torch network of an ONNX graph: a module for each node, called as the node is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

import qcli
from qcli_architectures.onnx.graph import OnnxGraph
from qcli_architectures.onnx.layers import LAYERS
from qcli_architectures.onnx.node import Array, Node
from qcli_architectures.onnx.shaping import SHAPING

MODULES = {**LAYERS, **SHAPING}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Div": operator.truediv,
    "Mul": operator.mul,
    "Sub": operator.sub,
    "Sum": operator.add,
}
ALLOWED = sorted({*MODULES, *ARITHMETIC, "Concat", "Constant", "Identity"})


class Arithmetic(nn.Module):
    """Computes with one constant, which is not trained.

    Args:
        operation: Of two tensors.
        constant: Any shape that fits the input.
        first: Whether the constant is the first of the two.
    """

    constant: Tensor

    def __init__(
        self, operation: Callable[[Any, Any], Any], constant: Array, *, first: bool
    ) -> None:
        super().__init__()
        self.operation = operation
        self.first = first
        value = torch.from_numpy(np.array(constant, np.float32))
        # Other than from_numpy, this lands on the device that networks are built on.
        self.register_buffer("constant", torch.empty(value.shape).copy_(value))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the operation makes of input and constant."""
        pair = (self.constant, x) if self.first else (x, self.constant)
        result: Tensor = self.operation(*pair)
        return result


def reserved_names() -> set[str]:
    """Return the names that a module of a network cannot have."""
    return {*dir(fx.GraphModule(nn.Module(), fx.Graph())), "input"}


def build_network(graph: OnnxGraph) -> fx.GraphModule:
    """Build the network with the weights of the file.

    Raises:
        UsageError: Some nodes are none that can be trained here; each is named.
    """
    _check_ops(graph)
    network, modules = fx.Graph(), dict[str, nn.Module]()
    values = {graph.input: network.placeholder("input")}
    for node in graph.nodes:
        sources = [values[name] for name in node.sources]
        values[node.output] = _add_node(node, sources, network, modules)
    scores = values[graph.output]
    if len(graph.scores) > 2:
        name = "scores_flatten"
        modules[name] = nn.Flatten()
        scores = network.call_module(name, (scores,))
    network.output(scores)
    return fx.GraphModule(modules, network)


def _check_ops(graph: OnnxGraph) -> None:
    unknown = [node for node in graph.nodes if node.op not in ALLOWED]
    if unknown:
        named = ", ".join(f'"{node.name}" ({node.op})' for node in unknown[:3])
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise qcli.UsageError(
            f"{graph.label}: cannot train the nodes {named}{more}; allowed: {', '.join(ALLOWED)}, "
            "and Softmax at the end"
        )


def _add_node(
    node: Node, sources: Sequence[fx.Node], network: fx.Graph, modules: dict[str, nn.Module]
) -> fx.Node:
    """Add the calls of a node to a network, and return the last one."""
    if node.op in MODULES:
        chain = MODULES[node.op](node)
    elif node.op in ARITHMETIC and len(sources) == 1 and len(node.inputs) == 2:
        chain = {"": _make_arithmetic(node)}
    else:
        return _add_function(node, sources, network)
    value = sources[0]
    for suffix, module in chain.items():
        name = f"{node.name}_{suffix}" if suffix else node.name
        modules[name] = module
        value = network.call_module(name, (value,))
    return value


def _make_arithmetic(node: Node) -> Arithmetic:
    first = node.inputs[0] in node.constants
    return Arithmetic(ARITHMETIC[node.op], node.constant(0 if first else 1), first=first)


def _add_function(node: Node, sources: Sequence[fx.Node], network: fx.Graph) -> fx.Node:
    """Add what joins several branches: plain functions, which a trace sees through."""
    if len(sources) < len(node.inputs):
        raise node.refuse("joins branches with constants, allowed: branches alone")
    if node.op == "Concat":
        axis = node.attributes["axis"]
        if axis % len(node.input_shape()) == 0:
            raise node.refuse("joins batches, allowed: any other axis than 0")
        return network.create_node("call_function", torch.cat, (list(sources), axis), {}, node.name)
    function = ARITHMETIC[node.op]
    return reduce(
        lambda left, right: network.create_node(
            "call_function", function, (left, right), {}, node.name
        ),
        sources,
    )
