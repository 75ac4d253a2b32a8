"""Networks from ONNX files compute what ONNX's own evaluator computes, under the nodes' names."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import fx, nn
from torchvision import models

import qcli
from qcli.catalog.building import settle_member
from qcli.cli import main
from qcli.errors import PluginError
from qcli.quantization.survey import survey_model
from qcli.testing import check_architecture
from qcli_architectures.onnx.family import build_member
from qcli_architectures.onnx.naming import name_nodes

Write = Callable[..., Path]
Node = onnx.NodeProto

IMAGE = (3, 8, 9)
RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def node(op: str, *inputs: str, name: str = "", output: str = "y", **attributes: Any) -> Node:
    return helper.make_node(op, inputs, [output], name=name, **attributes)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function from nodes between x and y to a file; a Flatten makes scores of y."""

    def make(
        nodes: Sequence[Node],
        constants: Mapping[str, np.ndarray] | None = None,
        *,
        opset: int = 17,
        dims: Sequence[Any] = ("N", *IMAGE),
        flatten: bool = True,
        scores: Sequence[Any] = ("N", "K"),
        name: str = "net.onnx",
    ) -> Path:
        ends = [node("Flatten", "y", output="scores")] if flatten else []
        graph = helper.make_graph(
            [*nodes, *ends],
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, dims)],
            [helper.make_tensor_value_info("scores" if flatten else "y", 1, scores)],
            [numpy_helper.from_array(each, key) for key, each in (constants or {}).items()],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("example", 1)],
            ir_version=8,
        )
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return make


def compute(path: Path, images: np.ndarray) -> np.ndarray:
    """Return what the file's network makes of images, by ONNX's own evaluator."""
    scores: np.ndarray = ReferenceEvaluator(str(path)).run(None, {"x": images})[0]
    return scores


def build(path: Path, num_classes: int, image_shape: Any = IMAGE, **options: Any) -> nn.Module:
    return build_member(num_classes, image_shape, member=str(path), **options)


def require_equal(path: Path, batch: int = 2) -> nn.Module:
    """Build the network of a file, and compare what it computes."""
    images = draw(batch, *IMAGE)
    expected = compute(path, images)
    network = build(path, expected.shape[1]).eval()
    found = network(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return network


KERNEL = {"kernel_shape": [3, 3]}
CASES: dict[str, tuple[list[Node], dict[str, np.ndarray]]] = {
    "conv": ([node("Conv", "x", "w", "b")], {"w": draw(4, 3, 3, 2), "b": draw(4)}),
    "conv strides, dilations, pads": (
        [node("Conv", "x", "w", strides=[2, 1], dilations=[2, 1], pads=[1, 2, 1, 2])],
        {"w": draw(4, 3, 3, 3)},
    ),
    "conv groups": ([node("Conv", "x", "w", group=3)], {"w": draw(6, 1, 3, 3)}),
    "conv unequal pads": (
        [node("Conv", "x", "w", pads=[0, 1, 2, 0])],
        {"w": draw(4, 3, 3, 3)},
    ),
    "conv same upper": (
        [node("Conv", "x", "w", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"w": draw(4, 3, 3, 3)},
    ),
    "conv same lower": (
        [node("Conv", "x", "w", auto_pad="SAME_LOWER", strides=[2, 2])],
        {"w": draw(4, 3, 2, 2)},
    ),
    "conv and its bias": (
        [node("Conv", "x", "w", output="c"), node("Add", "c", "b")],
        {"w": draw(4, 3, 3, 3), "b": draw(4, 1, 1)},
    ),
    "gemm": (
        [
            node("Flatten", "x", output="f"),
            node("Gemm", "f", "w", "b", alpha=0.5, beta=2.0),
        ],
        {"w": draw(216, 5), "b": draw(5)},
    ),
    "gemm transposed": (
        [node("Flatten", "x", output="f"), node("Gemm", "f", "w", transB=1)],
        {"w": draw(5, 216)},
    ),
    "matmul": (
        [
            node("Flatten", "x", output="f"),
            node("MatMul", "f", "w", output="m"),
            node("Add", "b", "m"),
        ],
        {"w": draw(216, 5), "b": draw(1, 5)},
    ),
    "batch norm": (
        [node("BatchNormalization", "x", "g", "b", "m", "v", epsilon=0.01)],
        {"g": draw(3), "b": draw(3), "m": draw(3), "v": draw(3) ** 2},
    ),
    "relu": ([node("Relu", "x")], {}),
    "clip": ([node("Clip", "x", "l", "h")], {"l": np.float32(-0.5), "h": np.float32(0.7)}),
    "clip from below": ([node("Clip", "x", "l")], {"l": np.float32(0)}),
    "clip from above": ([node("Clip", "x", "", "h")], {"h": np.float32(0.4)}),
    "prelu": ([node("PRelu", "x", "s")], {"s": draw(3, 1, 1)}),
    "sigmoid": ([node("Sigmoid", "x")], {}),
    "tanh": ([node("Tanh", "x")], {}),
    "elu": ([node("Elu", "x", alpha=0.5)], {}),
    "hard sigmoid": ([node("HardSigmoid", "x", alpha=1 / 6, beta=0.5)], {}),
    "hard swish": ([node("HardSwish", "x")], {}),
    "leaky relu": ([node("LeakyRelu", "x", alpha=0.3)], {}),
    "max pool": ([node("MaxPool", "x", strides=[2, 2], pads=[1, 1, 1, 1], **KERNEL)], {}),
    "max pool ceil": ([node("MaxPool", "x", strides=[2, 2], ceil_mode=1, **KERNEL)], {}),
    "average pool": ([node("AveragePool", "x", pads=[1, 1, 1, 1], **KERNEL)], {}),
    "average pool of padding": (
        [node("AveragePool", "x", pads=[1, 1, 1, 1], count_include_pad=1, **KERNEL)],
        {},
    ),
    "average pool unequal pads": (
        [node("AveragePool", "x", pads=[0, 0, 1, 1], count_include_pad=1, **KERNEL)],
        {},
    ),
    "global average": ([node("GlobalAveragePool", "x")], {}),
    "global maximum": ([node("GlobalMaxPool", "x")], {}),
    "mean": ([node("ReduceMean", "x", axes=[2, -1], keepdims=1)], {}),
    "mean without dimensions": ([node("ReduceMean", "x", axes=[3, 2], keepdims=0)], {}),
    "add": ([node("Sigmoid", "x", output="s"), node("Add", "x", "s")], {}),
    "subtract": ([node("Sigmoid", "x", output="s"), node("Sub", "x", "s")], {}),
    "sum of three": ([node("Sigmoid", "x", output="s"), node("Sum", "x", "s", "x")], {}),
    "scale": ([node("Mul", "x", "c")], {"c": draw(1, 3, 1, 1)}),
    "divide a constant": (
        [node("Sigmoid", "x", output="s"), node("Div", "c", "s")],
        {"c": np.float32(2)},
    ),
    "excite": ([node("GlobalAveragePool", "x", output="a"), node("Mul", "x", "a")], {}),
    "concat": ([node("Relu", "x", output="r"), node("Concat", "x", "r", axis=1)], {}),
    "dropout": ([node("Dropout", "x", "r")], {"r": np.float32(0.3)}),
    "identity": ([node("Identity", "x", output="i"), node("Relu", "i")], {}),
    "reshape": ([node("Reshape", "x", "s")], {"s": np.array([0, -1, 3])}),
    "shuffle": (
        [
            node("Reshape", "x", "s", output="r"),
            node("Transpose", "r", output="t", perm=[0, 2, 1]),
            node("Unsqueeze", "t", "a"),
        ],
        {"s": np.array([0, 3, -1]), "a": np.array([1])},
    ),
    "slice": (
        [node("Slice", "x", "s", "e", "a", "p")],
        {
            "s": np.array([1, 0]),
            "e": np.array([2**31, -1]),
            "a": np.array([2, -1]),
            "p": np.array([2, 1]),
        },
    ),
    "pad": ([node("Pad", "x", "p")], {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3])}),
    "pad by one": (
        [node("Pad", "x", "p", "c")],
        {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3]), "c": np.float32(1)},
    ),
    "pad channels": ([node("Pad", "x", "p")], {"p": np.array([0, 1, 0, 0, 0, 2, 0, 0])}),
    "pad by reflection": (
        [node("Pad", "x", "p", mode="reflect")],
        {"p": np.array([0, 0, 1, 2, 0, 0, 0, 3])},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_computes_as_onnx(case: str, write: Write) -> None:
    require_equal(write(*CASES[case]))


@pytest.mark.parametrize(
    ("opset", "nodes", "constants"),
    [
        (7, [node("Dropout", "x", ratio=0.2)], {}),
        (9, [node("Slice", "x", starts=[1], ends=[5], axes=[2])], {}),
        (10, [node("Clip", "x", min=0.0, max=6.0)], {}),
        (10, [node("Pad", "x", pads=[0, 0, 1, 1, 0, 0, 1, 1])], {}),
        (18, [node("ReduceMean", "x", "a")], {"a": np.array([2, 3])}),
        (22, [node("MaxPool", "x", **KERNEL)], {}),
        (22, [node("Conv", "x", "w")], {"w": draw(4, 3, 3, 3)}),
    ],
)
def test_opsets(
    opset: int, nodes: list[Node], constants: dict[str, np.ndarray], write: Write
) -> None:
    require_equal(write(nodes, constants, opset=opset))


def local_response_norm(x: torch.Tensor) -> torch.Tensor:
    """The definition, for three channels in a window of three."""
    squares = torch.nn.functional.pad(x**2, (0, 0, 0, 0, 1, 1))
    return x / (2 + 0.1 / 3 * (squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:])) ** 0.75


# Where ONNX's own evaluator is wrong (1.23: it pads and sums otherwise), or cannot.
@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (
            [node("MaxPool", "x", pads=[0, 0, 1, 1], **KERNEL)],
            lambda x: nn.MaxPool2d(3, 1)(nn.ConstantPad2d((0, 1, 0, 1), -100.0)(x)),
        ),
        ([node("LRN", "x", size=3, alpha=0.1, bias=2.0)], local_response_norm),
        (
            [node("BatchNormalization", "x", "two", "one", "one", "two", epsilon=0.5)],
            lambda x: (x - 1) / 2.5**0.5 * 2 + 1,
        ),
    ],
)
@pytest.mark.parametrize("opset", [8, 13, 22])
def test_computes_as_defined(
    opset: int, nodes: list[Node], expected: Callable[[Any], Any], write: Write
) -> None:
    constants = {"one": np.ones(3, np.float32), "two": np.full(3, 2, np.float32)}
    images = torch.from_numpy(draw(2, *IMAGE))
    scores = expected(images).flatten(1)
    network = build(write(nodes, constants, opset=opset), scores.shape[1]).eval()
    torch.testing.assert_close(network(images), scores, rtol=1e-5, atol=1e-5)


def flattened(*middle: Node) -> list[Node]:
    return [*middle, node("Gemm", "f", "w", name="fc")]


@pytest.mark.parametrize("dims", [("N", *IMAGE), (1, *IMAGE), (4, "C", "H", "W")])
@pytest.mark.parametrize(
    "reshape",
    [
        [node("Reshape", "x", "rest", output="f")],
        [
            node("Shape", "x", output="s"),
            node("Gather", "s", "zero", output="b"),
            node("Unsqueeze", "b", "zeros", output="u"),
            node("Concat", "u", "minus", output="t", axis=0),
            node("Reshape", "x", "t", output="f"),
        ],
    ],
    ids=["constant", "computed"],
)
def test_any_batch_whatever_the_file_says(
    dims: Sequence[Any], reshape: list[Node], write: Write
) -> None:
    numbers = {"rest": [-1, 216], "zero": 0, "zeros": [0], "minus": [-1]}
    constants = {key: np.array(each) for key, each in numbers.items()}
    weight = draw(216, 5)
    path = write(flattened(*reshape), {**constants, "w": weight}, dims=dims, flatten=False)
    images = draw(3, *IMAGE)
    found = build(path, 5)(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(found, images.reshape(3, -1) @ weight, rtol=1e-4, atol=1e-4)


def test_fixed_batch_in_a_reshape(write: Write) -> None:
    nodes = flattened(node("Reshape", "x", "s", output="f"))
    constants = {"s": np.array([1, 216]), "w": draw(216, 5)}
    path = write(nodes, constants, dims=(1, *IMAGE), flatten=False)
    assert build(path, 5)(torch.zeros(7, *IMAGE)).shape == (7, 5)


def test_constants_are_folded(write: Write) -> None:
    nodes = [
        node("Constant", output="c", value=numpy_helper.from_array(draw(5, 216))),
        node("Transpose", "c", output="t"),
        node("Identity", "t", output="w"),
        *flattened(node("Flatten", "x", output="f")),
    ]
    network = require_equal(write(nodes, flatten=False))
    assert isinstance(network.get_submodule("fc"), nn.Linear)


def test_scores_as_images_of_one_pixel(write: Write) -> None:
    nodes = [
        node("Conv", "x", "w", output="c", name="head"),
        node("GlobalAveragePool", "c", output="g"),
        node("Softmax", "g", axis=1),
    ]
    path = write(nodes, {"w": draw(5, 3, 1, 1)}, flatten=False, scores=["N", 5, 1, 1])
    scores = build(path, 5)(torch.zeros(2, *IMAGE))
    assert scores.shape == (2, 5)


def test_softmax_at_the_end_is_left_out(write: Write) -> None:
    nodes = [*flattened(node("Flatten", "x", output="f"))]
    nodes[-1].output[0] = "g"
    path = write([*nodes, node("Softmax", "g", axis=-1)], {"w": draw(216, 5)}, flatten=False)
    images = draw(2, *IMAGE)
    network = build(path, 5)
    scores = network(torch.from_numpy(images))
    np.testing.assert_allclose(scores.softmax(1).detach(), compute(path, images), atol=1e-5)
    assert not torch.allclose(scores.sum(1), torch.ones(2))


def test_modules_are_of_the_kinds_that_recipes_know(write: Write) -> None:
    constants = {"w": draw(4, 3, 3, 3), "z": np.float32(0), "s": np.float32(6), "f": draw(4, 5)}
    constants |= {key: abs(draw(4)) for key in "gbmv"}
    nodes = [
        node("Conv", "x", "w", output="c", name="/features/features.0/Conv"),
        node("BatchNormalization", "c", *"gbmv", output="n", name="norm", momentum=0.8),
        node("Clip", "n", "z", "s", output="r", name="clip"),
        node("GlobalAveragePool", "r", output="p", name="pool"),
        node("Flatten", "p", output="q", name="flatten"),
        node("MatMul", "q", "f", name="fc"),
    ]
    network = build(write(nodes, constants, flatten=False), 5)
    kinds = {name: type(module) for name, module in network.named_modules() if name}
    assert kinds == {
        "features_features_0_Conv": nn.Conv2d,
        "norm": nn.BatchNorm2d,
        "clip": nn.ReLU6,
        "pool": nn.AdaptiveAvgPool2d,
        "flatten": nn.Flatten,
        "fc": nn.Linear,
    }
    norm: Any = network.get_submodule("norm")
    assert norm.momentum == pytest.approx(0.2)
    survey = survey_model(network, IMAGE)
    assert survey.consumers["features_features_0_Conv"] == "norm"
    assert survey.called(network) == ["features_features_0_Conv", "fc"]
    assert "fc" in survey.nonnegative["input"]


def test_padding_keeps_what_recipes_look_for(write: Write) -> None:
    nodes = [
        node("Relu", "x", output="r", name="relu"),
        node("Conv", "r", "w", name="conv", pads=[0, 0, 1, 1]),
    ]
    network = build(write(nodes, {"w": draw(1, 3, 3, 3)}), 6 * 7 + 6 + 7 + 1)
    survey = survey_model(network, IMAGE)
    assert isinstance(network.get_submodule("conv_pad"), nn.ZeroPad2d)
    assert survey.producers["conv"] == "relu"
    assert "conv" in survey.nonnegative["input"]


def test_names() -> None:
    given = ["/a/a.0/Conv", "", "", "a_a_0_Conv", "7", "training", "..", ""]
    ops = ["Conv", "Relu", "Relu", "Conv", "Add", "Conv", "Relu", "Conv"]
    assert name_nodes(given, ops, {"training"}) == [
        *("a_a_0_Conv", "Relu_0", "Relu_1", "a_a_0_Conv_2"),
        *("Add_7", "training_2", "Relu", "Conv_3"),
    ]


def classifier(write: Write, classes: int = 5, **options: Any) -> Path:
    """Write a small network with the names of MXNet."""
    constants = {"w": draw(4, 3, 3, 3), "v": draw(4, 4, 3, 3), "f": draw(classes, 4)}
    constants |= {key: abs(draw(4)) + 0.5 for key in ("g", "b", "m", "s")}
    nodes = [
        node("Conv", "x", "w", output="c", name="net_conv0_fwd", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c", *"gbms", output="n", name="net_batchnorm0_fwd"),
        node("Relu", "n", output="r", name="net_relu0_fwd"),
        node("Conv", "r", "v", output="d", name="net_stage1_conv0_fwd", pads=[1, 1, 1, 1]),
        node("Add", "d", "r", output="a", name="net_stage1__plus0"),
        node("Relu", "a", output="q", name="net_stage1_activation0"),
        node("GlobalAveragePool", "q", output="p", name="net_pool0_fwd"),
        node("Flatten", "p", output="l", name="net_flatten0"),
        node("Gemm", "l", "f", output="y", name="net_dense0_fwd", transB=1),
    ]
    return write(nodes, constants, flatten=False, **options)


def test_random_weights_instead_of_the_file(write: Write) -> None:
    path = classifier(write)
    kept, drawn = (build(path, 5, pretrained=each).state_dict() for each in (True, False))
    assert kept.keys() == drawn.keys()
    assert not torch.equal(kept["net_conv0_fwd.weight"], drawn["net_conv0_fwd.weight"])
    assert drawn["net_batchnorm0_fwd.running_mean"].eq(0).all()
    assert drawn["net_batchnorm0_fwd.weight"].eq(1).all()
    original = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    np.testing.assert_array_equal(kept["net_conv0_fwd.weight"], original)


@pytest.mark.parametrize("num_classes", [5, 7])
def test_new_head(num_classes: int, write: Write) -> None:
    path = classifier(write)
    with torch.device("meta"):
        network = build(path, num_classes, new_head=True)
    head: Any = network.get_submodule("net_dense0_fwd")
    assert (head.in_features, head.out_features, head.bias) == (4, num_classes, None)


def test_new_head_needs_a_layer_at_the_end(write: Write) -> None:
    path = write([node("Relu", "x")])
    with pytest.raises(qcli.UsageError, match="does not give the scores"):
        build(path, 7, new_head=True)


def test_network_is_a_traceable_graph(write: Write) -> None:
    network = build(classifier(write), 5)
    assert isinstance(network, fx.GraphModule)
    calls = [each.target for each in network.graph.nodes if each.op == "call_module"]
    assert calls == [name for name, _ in network.named_children()]
    assert [str(each.target) for each in fx.symbolic_trace(network).graph.nodes][1:3] == calls[:2]


def test_facts_of_a_file(write: Write) -> None:
    find_member = importlib.import_module("qcli_architectures.onnx.file").find_member
    path = classifier(write)
    assert find_member(str(path)) == qcli.Member(str(path), 5, IMAGE)
    free = classifier(write, dims=("N", 3, "H", "W"), name="free.onnx")
    assert find_member(str(free)) == qcli.Member(str(free), 5, (3, 224, 224))


def test_obeys_the_laws_of_architectures(write: Write) -> None:
    path = classifier(write, dims=("N", 3, "H", "W"))
    entry, member = qcli.load_catalog().architecture(f"onnx:{path}")
    check_architecture(entry, {"member": member, "new_head": True})


def test_members_must_be_members() -> None:
    entry = qcli.ArchitectureEntry("zoo:", "", "", "zoo:build", find_member=lambda member: member)
    with pytest.raises(PluginError, match=r'"zoo:" finds a str, not a qcli\.Member'):
        settle_member(entry, "lion")


REFUSED: list[tuple[str, list[Node], dict[str, np.ndarray], str]] = [
    ("unknown", [node("Erf", "x", name="/act")], {}, r'the nodes "act" \(Erf\); allowed: Add, Av'),
    ("foreign", [node("Gelu", "x", domain="example")], {}, r"example\.Gelu"),
    ("softmax inside", [node("Softmax", "x", output="s"), node("Relu", "s")], {}, "Softmax at the"),
    ("computed weight", [node("Conv", "x", "x")], {}, "input 2, x, is computed, allowed: a const"),
    ("volume", [node("Conv", "x", "w")], {"w": draw(1, 1, 1, 1, 1)}, "cannot be inferred|5 dimens"),
    (
        "shape of a norm",
        [node("BatchNormalization", "x", *"ggag")],
        {"g": draw(3), "a": draw(4)},
        "mean is \\[4\\]",
    ),
    ("even window", [node("LRN", "x", size=2)], {}, "its size is 2, allowed: odd"),
    ("slope", [node("PRelu", "x", "s")], {"s": draw(8, 9)}, "slope is \\[8, 9\\], allowed"),
    ("slope of columns", [node("PRelu", "x", "s")], {"s": draw(9)}, "slope is"),
    ("hard", [node("HardSigmoid", "x")], {}, "alpha is 0.2"),
    ("mean", [node("ReduceMean", "x", axes=[1])], {}, r"averages axes \[1\], allowed: 2 and 3"),
    ("batch", [node("Transpose", "x")], {}, "moves the batch"),
    ("mixed", [node("Reshape", "x", "s")], {"s": np.array([-1, 9])}, "mixes images"),
    ("cut", [node("Slice", "x", "z", "o", "z")], {"z": np.array([0]), "o": np.array([1])}, "cuts"),
    ("joined", [node("Concat", "x", "x", axis=0)], {}, "joins batches"),
    ("joined constant", [node("Concat", "x", "c", axis=1)], {"c": draw(2, 1, 8, 9)}, "constants"),
    ("empty clip", [node("Clip", "x", "c", "c")], {"c": np.float32(1)}, "which is empty"),
    (
        "average of unequal pads",
        [node("AveragePool", "x", pads=[0, 0, 1, 1], **KERNEL)],
        {},
        "count_include_pad 1",
    ),
]


@pytest.mark.parametrize(("nodes", "constants", "message"), [case[1:] for case in REFUSED])
def test_refused(
    nodes: list[Node], constants: dict[str, np.ndarray], message: str, write: Write
) -> None:
    path = write(nodes, constants)
    with pytest.raises(qcli.UsageError, match=message) as refusal:
        build(path, 216)
    assert str(refusal.value).startswith(f"onnx:{path}")


@pytest.fixture
def qcli_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs qcli in a new folder: its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["qcli", *(str(each) for each in arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code: Any = ended.value.code
        return int(code or 0), *capsys.readouterr()

    return run


def write_recipes(folder: Path, **training: Any) -> None:
    dataset = {"name": "synthetic", "num_classes": 5, "train_images": 16, "test_images": 8}
    recipe = {"name": "t", "dataset": dataset, "epochs": 1, "batch_size": 8, "lr": 0.01}
    (folder / "t.json").write_text(json.dumps(recipe | training), "utf-8")
    rule = {"match": "net_stage1_conv0_fwd", "weight": {"quantizer": "sat", "bits": 2}}
    (folder / "q.json").write_text(
        json.dumps({"name": "q", "extends": "sat-w4a4", "layers": [rule]}), "utf-8"
    )


def test_rules_match_the_names_of_nodes(write: Write, qcli_says: Any, tmp_path: Path) -> None:
    path = classifier(write)
    write_recipes(tmp_path)
    code, out, _ = qcli_says("plan", "-a", f"onnx:{path.name}", "--quant-json", "q.json", "--json")
    rows = {row["layer"]: row for row in json.loads(out)["layers"]}
    assert code == 0
    assert {name: row["weight"] and row["weight"]["bits"] for name, row in rows.items()} == {
        "net_conv0_fwd": 8,
        "net_relu0_fwd": None,
        "net_stage1_conv0_fwd": 2,
        "net_stage1_activation0": None,
        "net_dense0_fwd": 8,
    }
    assert rows["net_stage1_activation0"]["output"]["bits"] == 4


def test_both_stages_of_sat(write: Write, qcli_says: Any, tmp_path: Path) -> None:
    """Two steps each: clamped from random weights, then in 4 bits; evaluated from elsewhere."""
    classifier(write)
    write_recipes(tmp_path, initialization="xavier_fan_out")
    train = ("train", "-a", "onnx:net.onnx", "--train-json", "t.json", "--cpu", "--threads", 1)
    code, _, err = qcli_says(*train, "--quant-json", "sat-clamp", "-o", "clamped")
    assert code == 0, err
    assert "initialization xavier_fan_out draws all layers anew" in " ".join(err.split())
    code, _, err = qcli_says(*train, "--quant-json", "sat-w4a4", "--init-from", "clamped")
    assert code == 0, err
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-onnx_net.onnx-synthetic-sat-w4a4")
    recipe = json.loads((run / "training.json").read_text("utf-8"))
    assert recipe["architecture"]["name"] == f"onnx:{tmp_path / 'net.onnx'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")
        assert qcli_says("eval", run, "--cpu")[0] == 0
    (tmp_path / "net.onnx").rename(tmp_path / "moved.onnx")
    code, _, err = qcli_says("eval", run, "--cpu")
    assert (code, "there is no such file" in err) == (2, True)


def test_pretrained_weights_are_told_to_quantizers(write: Write, qcli_says: Any) -> None:
    """Search starts from the weights at hand where they were trained, else nearly equal."""
    catalog = qcli.load_catalog()
    setting = importlib.import_module("qcli.recipe.setting")
    assembly = importlib.import_module("qcli.training.assembly")
    path = classifier(write)
    for extra, expected in (((), True), (("architecture.pretrained=false",), False)):
        request = setting.Request(
            architecture=f"onnx:{path}",
            train_json="resnet18-imagenet-120ep",
            quant_json="search-2b",
            overrides=("dataset.name=synthetic", "dataset.num_classes=5", "augment=[]", *extra),
        )
        resolved = setting.resolve_setting(request, catalog)
        plan = assembly.assemble(resolved, catalog, 5).plan
        infos = [planned.info.pretrained for _, _, planned in plan.slots()]
        assert infos
        assert set(infos) == {expected}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-a", "onnx:none.onnx"), "none.onnx: there is no such file"),
        (("-a", "onnx:."), "there is no such file"),
        (("-a", "onnx:text.onnx"), "is damaged or no ONNX file"),
        (("-a", "onnx:empty.onnx"), "is damaged or no ONNX file"),
        (("-a", "onnx:half.onnx"), "is damaged or no ONNX file"),
        (("-a", "onnx:new.onnx"), "is of opset 28, allowed: 7 to 22"),
        (("-a", "onnx:two.onnx"), "has 2 inputs (x, z), allowed: 1"),
        (("-a", "onnx:flat.onnx"), "has 2 dimensions, allowed: 4"),
        (("-a", "onnx:net.onnx", "-d", "mnist"), "takes images of 3x8x9, the images are 1x28x28"),
        (("-a", "onnx:free.onnx", "-d", "cifar10"), "has 5 classes, the data set has 10"),
        (("-a", "onnx:free.onnx", "-d", "mnist"), "takes images of 3xHxW, the images are 1x28x28"),
    ],
)
def test_bad_files_are_told(
    arguments: tuple[str, ...], message: str, write: Write, qcli_says: Any, tmp_path: Path
) -> None:
    whole = classifier(write).read_bytes()
    classifier(write, dims=("N", 3, "H", "W"), name="free.onnx")
    (tmp_path / "text.onnx").write_text("hello", "utf-8")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    write([node("Relu", "x")], opset=28, name="new.onnx")
    write([node("Relu", "x")], dims=("N", 5), name="flat.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.input.append(helper.make_tensor_value_info("z", 1, [1]))
    onnx.save(model, tmp_path / "two.onnx")
    code, out, err = qcli_says("plan", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_missing_package_is_told(
    write: Write, qcli_says: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = classifier(write)
    monkeypatch.setitem(sys.modules, "onnx.shape_inference", None)
    code, _, err = qcli_says("plan", "-a", f"onnx:{path}")
    assert code == 2
    assert "pip install qcli[onnx]" in err


def export(network: nn.Module, images: torch.Tensor, path: Path) -> None:
    """Write a file in which the norms stay norms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (images,),
            path,
            dynamo=False,
            opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )


@pytest.mark.slow
@pytest.mark.parametrize("member", ["resnet18", "mobilenet_v2", "squeezenet1_1", "googlenet"])
def test_exported_by_torch(member: str, tmp_path: Path) -> None:
    """The scores are those of torchvision's own network."""
    torch.manual_seed(0)
    extra = {"init_weights": True, "aux_logits": False} if member == "googlenet" else {}
    network = models.get_model(member, weights=None, **extra).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.1)
    images = torch.randn(2, 3, 64, 64)
    export(network, images, tmp_path / "net.onnx")
    found = build(tmp_path / "net.onnx", 1000, (3, 64, 64)).eval()
    parameters = sum(each.numel() for each in network.parameters())
    assert sum(each.numel() for each in found.parameters()) == parameters
    with torch.no_grad():
        torch.testing.assert_close(found(images), network(images), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_sat_on_resnet18(qcli_says: Any, tmp_path: Path) -> None:
    """N2D2 quantizes the outputs of the 17 ReLUs, and 21 layers, the two at the ends in 8 bits."""
    export(models.resnet18(weights=None).eval(), torch.zeros(1, 3, 224, 224), tmp_path / "r.onnx")
    code, out, _ = qcli_says("plan", "-a", "onnx:r.onnx", "--quant-json", "sat-w4a4", "--json")
    rows = json.loads(out)["layers"]
    weights = [row["weight"]["bits"] for row in rows if row["weight"]]
    assert (code, weights) == (0, [8, *[4] * 19, 8])
    outputs = [(row["type"], row["output"]["bits"]) for row in rows if row["output"]]
    assert outputs == [("ReLU", 4)] * 17
