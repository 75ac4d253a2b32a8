"""Trace a quantized network for deployment, and refuse what hides from a trace."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.fx.passes.shape_prop import TensorMetadata

from qcli.deployment.lowering.builder import Fault
from qcli.errors import ExportError, TraceError
from qcli.quantization import surgery, tracing
from qcli.quantization.tracing import trace_calls

# What exporters need of the trace comes from here alone.
IMAGES = tracing.IMAGES
place_of = tracing.place_of


def trace_network(model: nn.Module, image_shape: tuple[int, ...]) -> fx.Graph:
    """Return the calls of a network in eval mode, with the shape of each result in `meta`.

    Raises:
        ExportError: Python control flow or a foreign hook stands in the way.
    """
    _refuse_hooks(model)
    try:
        return trace_calls(model, image_shape)
    except TraceError as error:
        raise ExportError([str(error)]) from error


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


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a call's result for one image."""
    found = node.meta["tensor_meta"]
    if not isinstance(found, TensorMetadata):
        raise Fault(f"call {place_of(node)}: returns more than one tensor")
    if len(found.shape) < 2 or found.shape[0] != IMAGES:
        raise Fault(f"call {place_of(node)}: mixes images, or leaves them no channels")
    return tuple(found.shape[1:])
