"""Find the modules whose outputs meet, moved or concatenated, in what a module receives."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx, nn

# They change the place of values and not their kind: neighbors are looked for beyond them.
PASSING = (nn.Flatten, nn.Dropout, nn.ZeroPad2d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
PASSING_CALLS = {
    *("flatten", "view", "reshape", "transpose", "permute", "contiguous"),
    *("chunk", "split", "getitem", "max_pool2d", "dropout"),
    *("cat", "concat", "concatenate"),
}


def find_parts(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> Mapping[str, tuple[str, ...]]:
    """Return, by module, the modules that made the values it receives.

    Where other calls made some of them, such as a sum, the module is left out.

    Args:
        graph: The traced network.
        modules: Its modules by dotted name.
    """
    makers: dict[fx.Node, tuple[str, ...]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        known = [makers[source] for source in node.all_input_nodes if source in makers]
        met = tuple(dict.fromkeys(name for names in known for name in names))
        is_known = bool(met) and len(known) == len(node.all_input_nodes)
        if node.op == "call_module":
            name = str(node.target)
            if is_known:
                parts[name] = met
            if not isinstance(modules[name], PASSING):
                makers[node] = (name,)
            elif is_known:
                makers[node] = met
        elif is_known and _call(node) in PASSING_CALLS:
            makers[node] = met
    return parts


def _call(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
