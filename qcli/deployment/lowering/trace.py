"""Trace a quantized network into the calls of its modules, and refuse what hides from a trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from torch.nn.utils import parametrize

from qcli.deployment.lowering.builder import Fault
from qcli.errors import ExportError
from qcli.quantization import surgery
from qcli.quantization.quantizer import Quantizer

# Two images: a call that mixes images then shows in the shape of its result.
IMAGES = 2


class _Tracer(fx.Tracer):
    """Leaves are torch's own modules, what has a quantized weight or no parts, and quantizers.

    Of a module with parts that carries a quantizer, a block, the hook is traced as a call.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Quantizer) or parametrize.is_parametrized(m):
            return True
        parts = {name for name, _ in m.named_children()}
        carries = parts & {surgery.INPUT, surgery.OUTPUT}
        if carries and parts == carries:
            return True
        return super().is_leaf_module(m, module_qualified_name)


def trace_network(model: nn.Module, image_shape: tuple[int, ...]) -> fx.Graph:
    """Return the calls of a network in eval mode, with the shape of each result in `meta`.

    Raises:
        ExportError: Python control flow or a foreign hook stands in the way.
    """
    _refuse_hooks(model)
    try:
        graph = _Tracer().trace(model)
    except Exception as error:
        # Tracing runs the network's own Python on proxies: anything may come out of it.
        reason = " ".join(str(error).split())[:200]
        raise ExportError([f"the network cannot be traced: {reason}"]) from None
    inputs = [str(node.target) for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ExportError([f"the network takes {', '.join(inputs)}; allowed: one batch of images"])
    with torch.no_grad():
        _Shapes(fx.GraphModule(model, graph)).propagate(torch.zeros(IMAGES, *image_shape))
    return graph


class _Shapes(ShapeProp):
    """Notes the shape of each result, and calls that read what was changed after it was made."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.versions: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run a call; torch counts the changes in place of a tensor and its views."""
        read = {each: self.env[each] for each in n.all_input_nodes if each in self.versions}
        n.meta["stale"] = any(value._version != self.versions[each] for each, value in read.items())
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.versions[n] = result._version
        return result


def _refuse_hooks(model: nn.Module) -> None:
    faults = []
    for name, module in model.named_modules():
        hooks: list[Any] = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        # A trace begins inside the network: what hooks on the whole of it do is lost, ours too.
        if any(not name or hook.__module__ != surgery.__name__ for hook in hooks):
            faults.append(
                f"module {name or 'of the whole network'}: a forward hook that is not qcli's; "
                "make it a module of its own"
            )
    if faults:
        raise ExportError(faults)


def place_of(node: fx.Node) -> str:
    """Return where in the network a function is called, for people and for names of tensors."""
    stack: Any = node.meta.get("nn_module_stack") or {}
    inside = str(next(reversed(stack), ""))
    return f"{inside}.{node.name}" if inside else node.name


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a call's result for one image."""
    found = node.meta["tensor_meta"]
    if not isinstance(found, TensorMetadata):
        raise Fault(f"call {place_of(node)}: returns more than one tensor")
    if len(found.shape) < 2 or found.shape[0] != IMAGES:
        raise Fault(f"call {place_of(node)}: mixes images, or leaves them no channels")
    return tuple(found.shape[1:])
