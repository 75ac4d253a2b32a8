"""Find where a traced network cannot hold negative values: behind a ReLU, until a norm or a sum."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx, nn

CUTTING = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Softplus)
KEEPING = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.Dropout,
    nn.Flatten,
    nn.Identity,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.MaxPool1d,
    nn.ZeroPad2d,
)
CUTTING_CALLS = {"relu", "relu_", "relu6", "sigmoid"}
KEEPING_CALLS = {
    "adaptive_avg_pool2d",
    "add",
    "avg_pool2d",
    "cat",
    "dropout",
    "flatten",
    "iadd",
    "max_pool2d",
    "mean",
    "reshape",
    "view",
}


def find_nonnegative(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> Mapping[str, set[str]]:
    """Return the modules whose "input" and whose "output" hold no negative value for certain.

    Args:
        graph: The traced network.
        modules: Its modules by dotted name.
    """
    known: set[fx.Node] = set()
    found: dict[str, set[str]] = {"input": set(), "output": set()}
    for node in graph.nodes:
        sources = node.all_input_nodes
        fed = bool(sources) and all(source in known for source in sources)
        if _cuts(node, modules) or (fed and _keeps(node, modules)):
            known.add(node)
        if node.op == "call_module":
            found["input"] |= {str(node.target)} if fed else set()
            found["output"] |= {str(node.target)} if node in known else set()
    return found


def _cuts(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        module = modules[str(node.target)]
        clipped = isinstance(module, nn.Hardtanh) and module.min_val >= 0
        return clipped or isinstance(module, CUTTING)
    return _call(node) in CUTTING_CALLS


def _keeps(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], KEEPING)
    # A number that is added may be negative, and alpha may turn a sign.
    is_plain = all(isinstance(each, fx.Node) for each in node.args) and "alpha" not in node.kwargs
    return _call(node) in KEEPING_CALLS and (is_plain or "add" not in _call(node))


def _call(node: fx.Node) -> str:
    if node.op not in ("call_function", "call_method"):
        return ""
    return str(getattr(node.target, "__name__", node.target))
