"""A network as the calls of its modules and functions, with the shape of every result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils import parametrize

import qcli
from qcli import Quantizer

# Of two, what keeps the images of a batch apart is told from what has one of something.
BATCH = 2


class _Tracer(fx.Tracer):
    """Looks into modules that are not torch's own, unless a quantizer is all that is in them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Quantizer) or parametrize.is_parametrized(m):
            return True
        carried = [quantizer for _, quantizer in find_quantizers(m)]
        if carried and carried == list(m.children()):
            return True
        return super().is_leaf_module(m, module_qualified_name)


def trace_model(model: nn.Module, image_shape: tuple[int, ...]) -> fx.Graph:
    """Return the calls of a network in eval mode.

    Raises:
        ExportError: Its Python code or a hook hides what it does.
    """
    faults = [fault for name, module in model.named_modules() for fault in _hidden(name, module)]
    if faults:
        raise qcli.ExportError(faults)
    try:
        graph = _Tracer().trace(model)
    except Exception as error:
        # Tracing runs the network's own Python on proxies: anything may come out of it.
        reason = " ".join(str(error).split())[:200]
        raise qcli.ExportError([f"the network cannot be traced: {reason}"]) from None
    with torch.no_grad():
        ShapeProp(fx.GraphModule(model, graph)).propagate(torch.zeros(BATCH, *image_shape))
    return graph


def find_quantizers(module: nn.Module) -> Iterator[tuple[str, Quantizer]]:
    """Yield the slot, "input" or "output", and the quantizer of what hangs on a module."""
    for slot in ("input", "output"):
        quantizer = getattr(module, f"{slot}_quantizer", None)
        if isinstance(quantizer, Quantizer):
            yield slot, quantizer


def _hidden(name: str, module: nn.Module) -> Iterator[str]:
    """Yield what a trace of the network would lose."""
    slots = dict(find_quantizers(module))
    scales = "input" in slots and _overrides_scale(module)
    # A trace begins inside the network: what hooks on the whole of it do is lost.
    own = ("input" in slots, ("output" in slots) + scales) if name else (0, 0)
    if (len(module._forward_pre_hooks), len(module._forward_hooks)) != own:
        yield (
            f"module {name or '(the network)'}: it has a forward hook that is not qcli's; "
            "make it a module of its own"
        )
    elif scales and _scales(module):
        yield (
            f"layer {name}, input: its quantizer multiplies the layer's output by its input; "
            "train without that scale"
        )


def _overrides_scale(module: nn.Module) -> bool:
    quantizer: Any = module.input_quantizer
    return type(quantizer).scale_output is not Quantizer.scale_output


@torch.no_grad()
def _scales(module: nn.Module) -> bool:
    """Call the layer as its hooks do: a class may scale outputs while its options do not."""
    quantizer: Any = module.input_quantizer
    shape = quantizer.info.shape
    received = torch.linspace(-0.5, 1, math.prod(shape)).reshape(1, *shape)
    output = module.forward(quantizer(received))
    return not torch.equal(quantizer.scale_output(module, output), output)
