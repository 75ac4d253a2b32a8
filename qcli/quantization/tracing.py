"""One trace of a network for all who read its calls: quantizers in it, shapes of results."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils import parametrize

from qcli.errors import TraceError
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import INPUT, OUTPUT

# Two images: a call that mixes images then shows in the shape of its result.
IMAGES = 2


def trace_calls(model: nn.Module, image_shape: tuple[int, ...]) -> fx.Graph:
    """Return the calls of a network in eval mode, with the shape of each result in `meta`.

    Each call's `meta["stale"]` says whether it reads a tensor that was changed after it was made.

    Args:
        model: Quantized or not, in eval mode.
        image_shape: (C, H, W).

    Raises:
        TraceError: Python control flow stands in the way, or the network takes no such image.
    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:
        # Tracing runs the network's own Python on proxies: anything may come out of it.
        raise TraceError(f"the network cannot be traced: {_shorten(error)}") from None
    inputs = [str(node.target) for node in graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise TraceError(f"the network takes {', '.join(inputs)}; allowed: one batch of images")
    parameter = next(model.parameters(), torch.empty(0))
    images = torch.zeros(IMAGES, *image_shape, device=parameter.device)
    try:
        # ShapeProp prints the traceback of what it raises.
        with torch.no_grad(), redirect_stderr(io.StringIO()):
            _Shapes(fx.GraphModule(model, graph)).propagate(images)
    except RuntimeError as error:
        raise TraceError(
            f"the network cannot take an image of shape {tuple(image_shape)}: "
            f"{_shorten(error.__cause__ or error)}"
        ) from error
    return graph


def _shorten(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


class _Tracer(fx.Tracer):
    """Leaves are torch's own modules, what has a quantized weight or no parts, and quantizers.

    Of a module with parts that carries a quantizer, a block, the hook is traced as a call.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Quantizer) or parametrize.is_parametrized(m):
            return True
        parts = {name for name, _ in m.named_children()}
        carries = parts & {INPUT, OUTPUT}
        if carries and parts == carries:
            return True
        return super().is_leaf_module(m, module_qualified_name)


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


def place_of(node: fx.Node) -> str:
    """Return where in the network a function is called, for people and for names of tensors."""
    stack: Any = node.meta.get("nn_module_stack") or {}
    inside = str(next(reversed(stack), ""))
    return f"{inside}.{node.name}" if inside else node.name
