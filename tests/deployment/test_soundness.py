"""A graph that was read is refused where it cannot run, before it runs."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import every_operation

from qcli.deployment.graph import Concat, Convolution, Graph, Lookup, MaxPool, Pad, Quantize
from qcli.deployment.packed import read_graph, write_graph
from qcli.deployment.soundness import find_unsound
from qcli.errors import ArtifactError


@pytest.fixture(scope="module")
def graph():
    return every_operation()


def change(graph, kind, **fields):
    """Return a copy in which the first node of a kind is another; and the node's name."""
    node = next(each for each in graph.nodes if type(each) is kind)
    made = {key: value(node) if callable(value) else value for key, value in fields.items()}
    nodes = tuple(replace(node, **made) if each is node else each for each in graph.nodes)
    return Graph(graph.image, nodes, graph.facts), node.name


def test_what_lowering_and_hands_make_is_sound(graph):
    assert find_unsound(graph) is None


@pytest.mark.parametrize(
    ("kind", "fields", "fault"),
    [
        (Convolution, {"stride": (0, 1)}, "a kernel, stride or dilation below 1"),
        (Convolution, {"dilation": (1, 0)}, "a kernel, stride or dilation below 1"),
        (Convolution, {"pads": ((1 << 20, 0), (0, 0))}, "a pad that is too large"),
        (Convolution, {"pads": ((2, 2), (1, 1))}, "gives "),
        (Convolution, {"groups": 0}, "its groups do not fit its channels"),
        (Convolution, {"weight": lambda node: node.weight[:, :0]}, "its groups do not fit"),
        (Convolution, {"weight": lambda node: node.weight * 1000}, "gives "),
        (Convolution, {"inputs": ("nowhere",)}, "its input 'nowhere' is not made before"),
        (MaxPool, {"kernel": (0, 2)}, "a kernel, stride or dilation below 1"),
        (Pad, {"pads": ((0, 0), (-1, 0), (0, 0))}, "a pad below 0"),
        (Lookup, {"table": lambda node: node.table[:, :-1]}, "its table does not fit its input"),
        (Concat, {"inputs": lambda node: node.inputs[:1]}, "gives "),
        (Quantize, {"bias": lambda node: node.bias + (1 << 62) - 1}, "its sums overflow 62 bits"),
        (Quantize, {"boundaries": lambda n: -n.boundaries}, "its boundaries do not ascend"),
        (Quantize, {"levels": lambda n: n.levels[:-1]}, "its boundaries do not fit its levels"),
        (Quantize, {"shift": lambda n: n.shift[:-1]}, "its boundaries do not fit its levels"),
        (
            Quantize,
            {"multipliers": lambda n: np.concatenate([n.multipliers] * 2)},
            "its multipliers do not fit its inputs",
        ),
    ],
)
def test_a_damaged_node_is_named(graph, tmp_path, kind, fields, fault):
    changed, name = change(graph, kind, **fields)
    found = find_unsound(changed)
    assert found is not None
    assert found.startswith(f"{name}: {fault}")
    path = tmp_path / "damaged.qcli"
    try:
        write_graph(changed, path)
    except (ValueError, IndexError):
        return
    with pytest.raises(ArtifactError, match=r"damaged|holds no graph"):
        read_graph(path)


def test_shapes_and_ranges_are_those_of_the_operations(graph):
    node = graph.nodes[1]
    for output in (
        replace(node.output, high=node.output.high - 1),
        replace(node.output, shape=(*node.output.shape[:-1], node.output.shape[-1] + 1)),
    ):
        nodes = tuple(replace(n, output=output) if n is node else n for n in graph.nodes)
        assert find_unsound(Graph(graph.image, nodes)).startswith(f"{node.name}: gives ")


def test_a_graph_ends_with_scores(graph):
    assert find_unsound(Graph(graph.image, graph.nodes[:-1])) == (
        "image: the last node is no scores"
    )
    assert find_unsound(Graph(graph.image, ())) is not None


def test_boundaries_from_one_end_to_the_other_ascend(graph):
    def stretch(node):
        ends = np.sort(node.boundaries, 1)
        ends[:, 0], ends[:, -1] = -(1 << 62), 1 << 62
        return ends

    changed, _ = change(graph, Quantize, boundaries=stretch)
    assert find_unsound(changed) is None
