"""The graph of a network: what it computes, and with how many bits values go from call to call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

from qcli.quantization.call_kind import (
    MOVING,
    NOTHING,
    call_name,
    describe_module,
    kind_of_call,
    kind_of_module,
    type_name,
)
from qcli.quantization.quantizer import FLOAT_BITS, Quantizer
from qcli.quantization.surgery import INPUT, OUTPUT, quantizers
from qcli.quantization.survey import QUANTIZABLE
from qcli.quantization.tracing import place_of, trace_calls

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphNode:
    """One call; what does nothing in eval mode, such as dropout, is left out.

    Args:
        name: Dotted name of the module, or where a function is called; unique, the second call of
            a module ends in " (2)".
        kind: input, output, conv, linear, norm, activation, pool, max pool, add, multiply,
            concat, reshape, pad or other.
        type: The module's class, or the function.
        detail: The settings that shape it, such as "3x3 /2", its kernel and stride.
        shape: Of its result for one image; () where that is no single tensor.
        quantizer: The class of the weight's quantizer; "" where it is float or has no weight.
        bits: Of each weight, 32 for float; None where it has none.
    """

    name: str
    kind: str
    type: str
    detail: str
    shape: Shape
    quantizer: str = ""
    bits: int | None = None


@dataclass(frozen=True)
class GraphEdge:
    """A tensor that goes from one call to another.

    Args:
        source: Name of the node that makes it.
        target: Name of the node that takes it.
        bits: Of each value as the target computes with it; 32 for float.
        quantizer: The class of what quantizes it; "" where it is float.
        shape: For one image.
    """

    source: str
    target: str
    bits: int
    quantizer: str
    shape: Shape


@dataclass(frozen=True)
class NetworkGraph:
    """Nodes in the order of their calls, the image first and the output last."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


def trace_graph(model: nn.Module, image_shape: Shape) -> NetworkGraph:
    """Follow an image through a network.

    Args:
        model: Quantized or float, on any device.
        image_shape: (C, H, W).

    Raises:
        TraceError: Its calls cannot be followed: control flow that depends on numbers, more than
            one input, or images of another shape.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        calls = trace_calls(model, image_shape)
    finally:
        for module, training in modes.items():
            module.training = training
    walk = _Walk(model)
    for call in calls.nodes:
        walk.visit(call)
    return NetworkGraph(tuple(walk.nodes), tuple(walk.edges))


@dataclass(frozen=True)
class _Value:
    """A tensor on its way: who made it, and the bits that it has."""

    source: str
    shape: Shape
    bits: int = FLOAT_BITS
    quantizer: str = ""

    def through(self, quantizer: Any) -> _Value:
        """Return the tensor behind a quantizer; itself where there is none."""
        if not isinstance(quantizer, Quantizer) or not quantizer.quantizes:
            return self
        return replace(self, bits=quantizer.bits, quantizer=type(quantizer).__name__)


class _Walk:
    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.weights = {
            layer: each
            for layer, slot, each in quantizers(model)
            if slot == "weight" and each.quantizes
        }
        self.values: dict[fx.Node, _Value] = {}
        self.nodes: list[GraphNode] = []
        self.edges: list[GraphEdge] = []
        self.calls: dict[str, int] = {}

    def visit(self, call: fx.Node) -> None:
        """Add a call, the edges to it, and the value that it makes."""
        sources = [self.values[each] for each in call.all_input_nodes if each in self.values]
        if call.op == "placeholder":
            self._add(call, GraphNode("image", "input", "image", "", _shape(call)), [])
        elif call.op == "output":
            self._add(call, GraphNode("output", "output", "output", "", ()), sources)
        elif call.op == "call_module":
            self._visit_module(call, self.modules[str(call.target)], sources)
        elif sources and "tensor_meta" in call.meta:
            called = call_name(call)
            name = self._unique(place_of(call).removesuffix(call.name) + called)
            node = GraphNode(name, kind_of_call(called), called, "", _shape(call))
            self._add(call, node, sources)

    def _visit_module(self, call: fx.Node, module: nn.Module, sources: list[_Value]) -> None:
        if isinstance(module, Quantizer) and sources:
            self.values[call] = sources[0].through(module)
            return
        name = str(call.target)
        weight = self.weights.get(name)
        node = GraphNode(
            self._unique(name),
            kind_of_module(module),
            type_name(module),
            describe_module(module),
            _shape(call),
            type(weight).__name__ if weight else "",
            (weight.bits if weight else FLOAT_BITS) if isinstance(module, QUANTIZABLE) else None,
        )
        quantizer = getattr(module, INPUT, None)
        self._add(call, node, [each.through(quantizer) for each in sources])
        self.values[call] = self.values[call].through(getattr(module, OUTPUT, None))

    def _add(self, call: fx.Node, node: GraphNode, sources: list[_Value]) -> None:
        if node.kind == NOTHING and sources:
            self.values[call] = sources[0]
            return
        self.nodes.append(node)
        self.edges += [
            GraphEdge(each.source, node.name, each.bits, each.quantizer, each.shape)
            for each in sources
        ]
        made = _Value(node.name, node.shape)
        self.values[call] = replace(made, **dict(_kept(node.kind, sources)))

    def _unique(self, name: str) -> str:
        self.calls[name] = self.calls.get(name, 0) + 1
        return name if self.calls[name] == 1 else f"{name} ({self.calls[name]})"


def _kept(kind: str, sources: list[_Value]) -> Iterator[tuple[str, Any]]:
    """Yield the bits that values keep through a call, and what quantized them, where they do."""
    if sources and (kind == "concat" or (kind in MOVING and len(sources) == 1)):
        widest = max(sources, key=lambda each: each.bits)
        yield from (("bits", widest.bits), ("quantizer", widest.quantizer))


def _shape(call: fx.Node) -> Shape:
    found = call.meta.get("tensor_meta")
    return tuple(found.shape[1:]) if isinstance(found, TensorMetadata) else ()
