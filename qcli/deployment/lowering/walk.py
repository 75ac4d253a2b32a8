"""Turn a network in eval mode into an integer graph, or say by layer why it cannot be one.

The walk carries real values as integers with an affine. Layers multiply the integers; norms,
averages and sums change the affine; quantizers round it once and count boundaries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

from qcli.deployment.graph import Graph, Node, Tensor
from qcli.deployment.lowering.builder import Builder, Fault
from qcli.deployment.lowering.calls import CALLS, RESHAPES, lower_call
from qcli.deployment.lowering.dyadic import Reals
from qcli.deployment.lowering.modules import lower_module
from qcli.deployment.lowering.quantizers import lower_logits, lower_quantizer
from qcli.deployment.lowering.trace import place_of, trace_network
from qcli.deployment.lowering.value import Value, single
from qcli.errors import ExportError
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import INPUT, OUTPUT

ADVICE = "recipes whose names end with -integer quantize what most networks need: qcli list recipes"


@dataclass(frozen=True)
class Pixels:
    """How pixels 0 to 255 become what a network receives: pixel * factor + offset, in float32.

    Args:
        factor: float32 numbers as float64, [C].
        offset: [C].
    """

    factor: Reals
    offset: Reals


def lower(
    model: nn.Module, image_shape: tuple[int, int, int], pixels: Pixels, facts: Mapping[str, Any]
) -> Graph:
    """Lower a network to integers.

    Args:
        model: Quantized, in eval mode, on the CPU.
        image_shape: (C, H, W).
        pixels: Where the network's input comes from.
        facts: What the graph should tell beside its nodes.

    Raises:
        ExportError: It does not lower: every fault, by layer.
    """
    _refuse_diverged(model)
    walk = _Walk(model, image_shape, pixels)
    # Numbers that are not finite are refused where a quantizer receives them.
    with torch.no_grad(), np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        walk.run(trace_network(model, image_shape))
    if walk.builder.faults:
        raise ExportError([*walk.builder.faults, ADVICE])
    return Graph(walk.builder.image, _reachable(walk.builder.nodes), facts)


def _refuse_diverged(model: nn.Module) -> None:
    faults = [
        f"{name}: not finite: the network diverged; train it anew"
        for name, numbers in model.state_dict().items()
        if numbers.is_floating_point() and not numbers.isfinite().all()
    ]
    if faults:
        raise ExportError(faults)


def _reachable(nodes: list[Node]) -> tuple[Node, ...]:
    """Return the nodes that the last one needs."""
    needed = {nodes[-1].name}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(node for node in nodes if node.name in needed)


class _Walk:
    """One pass over a traced network; behind a fault it goes on as if whole numbers came out."""

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int], pixels: Pixels) -> None:
        image = Tensor("image", image_shape, 0, 255)
        self.builder = Builder(image)
        self.modules = dict(model.named_modules())
        factors = np.broadcast_to(pixels.factor, (image_shape[0],))[None].astype(np.float64)
        offset = np.broadcast_to(pixels.offset, (image_shape[0],)).astype(np.float64)
        self.image = Value((image,), factors, offset)
        self.values: dict[fx.Node, Value | None] = {}

    def run(self, graph: fx.Graph) -> None:
        """Lower every call in order."""
        self._refuse_shared(graph)
        for node in graph.nodes:
            try:
                self.values[node] = _require_shape(node, self._lower(node))
            except Fault as fault:
                self.builder.faults.append(str(fault))
                self.values[node] = _pretend(node)

    def _refuse_shared(self, graph: fx.Graph) -> None:
        """A quantizer that serves two places has no one tensor to be compared with."""
        targets = [str(node.target) for node in graph.nodes if node.op == "call_module"]
        for name in dict.fromkeys(targets):
            module = self.modules[name]
            carries = isinstance(module, Quantizer) or hasattr(module, INPUT)
            if (carries or hasattr(module, OUTPUT)) and targets.count(name) > 1:
                self.builder.faults.append(
                    f"module {name}: called {targets.count(name)} times with one quantizer; "
                    "give each place a module of its own"
                )

    def _lower(self, node: fx.Node) -> Value | None:
        if node.meta["stale"]:
            place = (
                f"module {node.target}" if node.op == "call_module" else f"call {place_of(node)}"
            )
            raise Fault(
                f"{place}: reads a tensor that was changed in place after it was made; "
                "set inplace=False"
            )
        match node.op:
            case "placeholder":
                return self.image
            case "get_attr":
                return None
            case "output":
                self._finish(node)
                return None
            case "call_module":
                return self._call_module(node)
        return self._call(node)

    def _finish(self, node: fx.Node) -> None:
        (result,) = node.args
        if not isinstance(result, fx.Node):
            raise Fault("the network returns more than its scores")
        value = self.values[result]
        if value is None:
            raise Fault("the network returns something else than scores of its image")
        lower_logits(self.builder, value)

    def _call_module(self, node: fx.Node) -> Value | None:
        name, module = str(node.target), self.modules[str(node.target)]
        if len(node.all_input_nodes) != 1:
            raise Fault(f"module {name} ({type(module).__name__}): allowed: one input")
        value = self.values[node.all_input_nodes[0]]
        if value is None:
            raise Fault(f"module {name} ({type(module).__name__}): its input is no activation")
        if isinstance(module, Quantizer):
            place = name.removesuffix("_quantizer")
            return lower_quantizer(self.builder, place, module, value)
        quantizer: Any = getattr(module, INPUT, None)
        if quantizer is not None:
            value = lower_quantizer(self.builder, f"{name}.input", quantizer, value)
        value = lower_module(self.builder, name, module, value, node)
        quantizer = getattr(module, OUTPUT, None)
        if quantizer is not None:
            value = lower_quantizer(self.builder, f"{name}.output", quantizer, value)
        return value

    def _call(self, node: fx.Node) -> Value | None:
        if "tensor_meta" not in node.meta:
            # A number, such as a size: what it leads to shows in the shapes of results.
            return None
        name = str(getattr(node.target, "__name__", node.target))
        if name not in CALLS:
            raise Fault(f"call {place_of(node)} ({name}): not an operation on integers")
        strange = [each.name for each in node.all_input_nodes if self.values[each] is None]
        if strange and name not in RESHAPES:
            raise Fault(f"call {place_of(node)} ({name}): takes {strange[0]}, no activation")
        return lower_call(self.builder, node, name, self.values)


def _require_shape(node: fx.Node, value: Value | None) -> Value | None:
    """Refuse a result that is not what the network computes, whatever was overlooked."""
    found = node.meta.get("tensor_meta")
    if value is None or not isinstance(found, TensorMetadata):
        return value
    shape = tuple(found.shape[1:])
    if value.shape != shape:
        place = str(node.target) if node.op == "call_module" else place_of(node)
        raise Fault(
            f"{place}: gives {shape}, which its settings alone do not explain; "
            "leave out what the call says beside its input"
        )
    return value


def _pretend(node: fx.Node) -> Value | None:
    """Return whole numbers of the shape that a call has, so that faults behind it are found."""
    found = node.meta.get("tensor_meta")
    if not isinstance(found, TensorMetadata):
        return None
    return single(Tensor(node.name, tuple(found.shape[1:]) or (1,), 0, 1), 1.0)
