"""The two options that methods require of every bundled network: its activations, and its order."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import qcli_architectures
from qcli.cli import main
from qcli.quantization.survey import survey_model
from qcli.testing import check_architecture
from qcli_architectures.activation import ACTIVATIONS

ENTRIES = {
    entry.name: entry
    for entry in qcli_architectures.qcli_register_architectures()
    if not entry.name.endswith(":")
}
WITHOUT_NORMS = {"lenet5_classic"}
# Where an option decides which norms and layers there are.
FORMS: dict[str, list[dict[str, Any]]] = {
    "lenet5_caffe": [{"batch_norm": True}],
    "resnet18": [{"stem": "cifar"}, {"stem": "imagenet"}],
    "resnet50": [{"stem": "cifar"}, {"stem": "imagenet"}],
    "vgg16": [{"head": "cifar"}, {"head": "cifar_wide"}, {"head": "imagenet"}],
    "alexnet_xnor": [{"form": "torch7"}, {"form": "pytorch"}],
    "googlenet": [{"branch": "3x3"}, {"branch": "5x5"}],
    "mobilenet_v2": [{"keep_expansion": False}, {"keep_expansion": True}],
    "resnet18_preact": [{"shortcut": "projection"}, {"shortcut": "average_pool"}],
}
# The others are made of the same parts, and take longer.
SMALL = {"lenet5", "lenet5_caffe", "lenet5_classic", "lenet_n2d2", "simplenet", "resnet20"}
# resnet20 with more blocks of the same kind: one activation stands for all.
DEEPER = {"resnet32", "resnet44", "resnet56", "resnet110", "resnet1202"}
# The height and width of the images of networks that take none of 32 pixels.
SIDES = {"alexnet": 67, "alexnet_dorefa": 44, "alexnet_xnor": 67, "alexnet_torchvision": 63}


def case(name: str, options: dict[str, Any]) -> Any:
    """Return a parameter set of a test; those of networks that are not small are slow."""
    marks = () if name in SMALL else pytest.mark.slow
    words = [name, *(f"{key}={value}" for key, value in options.items())]
    return pytest.param(name, options, marks=marks, id=" ".join(words))


NORM_FIRST = [
    case(name, {"block_order": "norm_first", **form})
    for name in ENTRIES
    if name not in WITHOUT_NORMS
    for form in FORMS.get(name, [{}])
]
BOTH_ORDERS = [each for each in NORM_FIRST if each.values[0] != "alexnet_xnor"]
# Between the layers of a Bi-Real network there is no activation in either order.
WITH_ACTIVATIONS = [each for each in BOTH_ORDERS if each.values[0] != "bireal_resnet18"]
NORMS = nn.BatchNorm1d | nn.BatchNorm2d


def build(name: str, device: str = "meta", **options: Any) -> nn.Module:
    entry = ENTRIES[name]
    module, function = str(entry.build).split(":")
    make = getattr(importlib.import_module(module), function)
    with torch.device(device):
        network: nn.Module = make(entry.default_num_classes, entry.default_image_shape, **options)
    return network


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def has_norms(name: str, options: dict[str, Any]) -> bool:
    return bool(options.get("batch_norm", name not in {"lenet5_caffe", "lenet5_classic"}))


def list_choices(option: Any) -> list[Any]:
    """Return the values of an option; of a number its default alone."""
    if option["type"] == "boolean":
        return [False, True]
    return list(option.get("enum", [option["default"]]))


def changes(entry: Any, options: dict[str, Any]) -> int:
    """Return how many options other than the order differ from their defaults."""
    defaults = {key: option["default"] for key, option in entry.options.items()}
    return sum(options[key] != defaults[key] for key in options if key != "block_order")


def every_combination() -> list[Any]:
    """Every choice of all options, but the refused ones; of large networks one change or none."""
    found = []
    for name, entry in ENTRIES.items():
        choices = [list_choices(option) for option in entry.options.values()]
        for values in itertools.product(*choices):
            options = dict(zip(entry.options, values, strict=True))
            is_built = options["block_order"] == "norm_last" or has_norms(name, options)
            most = 0 if name in DEEPER else 1
            if is_built and (name in SMALL or changes(entry, options) <= most):
                found.append(case(name, options))
    return found


@pytest.mark.parametrize(("name", "options"), every_combination())
def test_every_combination_obeys_the_laws(name: str, options: dict[str, Any]) -> None:
    check_architecture(ENTRIES[name], options)


@pytest.mark.parametrize(("name", "options"), NORM_FIRST)
def test_norms_first_feed_every_inner_layer(name: str, options: dict[str, Any]) -> None:
    entry, network = ENTRIES[name], build(name, **options)
    survey = survey_model(network, entry.default_image_shape)
    called = survey.called(network)
    ends = [entry.first_layer, entry.last_layer]
    inner = [layer for layer in called if layer not in ends]
    assert len(inner) == len(called) - 2
    producers = {layer: survey.producers.get(layer, "none") for layer in inner}
    modules = {**dict(network.named_modules()), "none": None}
    assert {k: p for k, p in producers.items() if not isinstance(modules[p], NORMS)} == {}
    # A norm of its own, and no other reader that would see what a quantizer makes of it.
    assert len(set(producers.values())) == len(inner)
    assert not survey.nonnegative["input"] & set(inner)


@pytest.mark.parametrize(("name", "options"), WITH_ACTIVATIONS)
def test_norms_last_feed_relu_outputs_to_inner_layers(name: str, options: dict[str, Any]) -> None:
    """What norm_first is there for: the check above can fail."""
    network = build(name, **{**options, "block_order": "norm_last"})
    survey = survey_model(network, ENTRIES[name].default_image_shape)
    assert survey.nonnegative["input"] & set(survey.called(network)[1:-1])


@pytest.mark.parametrize(("name", "options"), BOTH_ORDERS)
def test_the_order_changes_no_layer_and_no_name_of_one(name: str, options: dict[str, Any]) -> None:
    def layers(order: str) -> dict[str, str]:
        network = build(name, **{**options, "block_order": order})
        named = network.named_modules()
        return {each: repr(m) for each, m in named if isinstance(m, nn.Conv2d | nn.Linear)}

    assert layers("norm_first") == layers("norm_last")


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "resnet18", "vgg_small"])
def test_the_order_changes_no_initial_weight(name: str) -> None:
    states = []
    for order in ("norm_first", "norm_last"):
        torch.manual_seed(3)
        states.append(build(name, "cpu", block_order=order).state_dict())
    first, last = states
    layers = [key for key, value in last.items() if key.endswith("weight") and value.dim() > 1]
    assert len(layers) >= 4
    assert all(torch.equal(first[key], last[key]) for key in layers)


# Of the norms that do not stand before an inner layer, where the authors' code says so.
OWN_EPSILONS = {"alexnet_dorefa": {1e-4}, "alexnet_xnor": {1e-5, 1e-4, 1e-3}}
OWN_EPSILONS |= {"googlenet": {1e-5, 1e-3}, "inception_v1": {1e-5, 1e-3}}


@pytest.mark.parametrize(("name", "options"), NORM_FIRST)
def test_norms_before_inner_layers_have_the_papers_epsilon(
    name: str, options: dict[str, Any]
) -> None:
    network = build(name, **options)
    survey = survey_model(network, ENTRIES[name].default_image_shape)
    leading = {survey.producers[layer] for layer in survey.called(network)[1:-1]}
    norms = [(each, m) for each, m in network.named_modules() if isinstance(m, NORMS)]
    others = OWN_EPSILONS.get(name, {1e-5})
    assert all(norm.eps in ({1e-4} if each in leading else others) for each, norm in norms)


# What feeds the first inner layer, the last layer, and what comes after an inner layer.
@pytest.mark.parametrize(
    ("name", "options", "order"),
    [
        (
            "lenet5",
            {},
            "conv1 bn1 relu1 pool1 bn2 conv2 relu2 pool2 bn3 flatten fc1 bn4 relu3 fc2",
        ),
        (
            "lenet5_caffe",
            {"batch_norm": True},
            "conv1 bn1 relu1 pool1 bn2 conv2 relu2 pool2 bn3 flatten fc1 relu3 fc2",
        ),
        (
            "vgg_small",
            {},
            "conv1 bn1 relu1 bn2 conv2 relu2 pool2 bn3 conv3 relu3 bn4 conv4 relu4 pool4 "
            "bn5 conv5 relu5 bn6 conv6 pool6 bn7 relu6 flatten fc",
        ),
        (
            "vgg7",
            {},
            "conv1 bn1 relu1 bn2 conv2 relu2 pool2 bn3 conv3 relu3 bn4 conv4 relu4 pool4 "
            "bn5 conv5 relu5 bn6 conv6 relu6 pool6 bn7 flatten fc1 bn8 relu7 fc2",
        ),
        (
            "lenet_n2d2",
            {},
            "conv1 bn1 relu1 pool1 bn2 conv2 relu2 pool2 bn3 conv3 relu3 dropout1 bn4 flatten fc1 "
            "dropout2 fc2",
        ),
        (
            "simplenet",
            {},
            "conv1 bn1 relu1 bn2 conv2 relu2 bn3 conv3 relu3 avgpool bn4 flatten fc1 sigmoid fc2",
        ),
        (
            "alexnet",
            {},
            "conv1 pool1 bn1 relu1 bn2 conv2 relu2 pool2 bn3 conv3 relu3 bn4 conv4 relu4 "
            "bn5 conv5 relu5 pool5 bn6 fc6 relu6 bn7 fc7 bn8 relu7 flatten fc8",
        ),
        (
            "alexnet_dorefa",
            {},
            "conv1 relu1 bn2 conv2 relu2 pool2 bn3 conv3 relu3 pool3 bn4 conv4 relu4 "
            "bn5 conv5 relu5 pool5 bn6 flatten fc6 relu6 bn7 fc7 bn8 relu7 fc8",
        ),
        (
            "alexnet_xnor",
            {},
            "conv1 bn1 relu1 pool1 bn2 conv2 pool2 bn3 conv3 bn4 conv4 bn5 conv5 pool5 "
            "bn6 fc6 bn7 fc7 bn8 relu7 flatten fc8",
        ),
        (
            "alexnet_xnor",
            {"form": "pytorch"},
            "conv1 bn1 relu1 pool1 bn2 conv2 relu2 pool2 bn3 conv3 relu3 bn4 conv4 relu4 "
            "bn5 conv5 relu5 pool5 flatten bn6 fc6 relu6 bn7 dropout7 fc7 relu7 bn8 dropout8 fc8",
        ),
    ],
)
def test_chains_with_norms_first(name: str, options: dict[str, Any], order: str) -> None:
    network = build(name, block_order="norm_first", **options)
    assert [child for child, _ in network.named_children()] == order.split()


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "resnet50"])
def test_the_shortcut_of_a_block_with_norms_first_is_its_input(name: str) -> None:
    """With a branch of zeros a block that keeps its shape gives back what it was given."""
    block = build(name, "cpu", block_order="norm_first").get_submodule("layer1.1")
    last = [layer for layer in block.children() if isinstance(layer, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    images = torch.randn(2, 256 if name == "resnet50" else last.out_channels, 4, 4)
    assert torch.equal(block(images), images)
    assert images.min() < 0


def test_the_last_sum_is_normed_and_activated_before_the_last_layer() -> None:
    network = build("resnet20", block_order="norm_first")
    names = [name for name, _ in network.named_children()]
    assert names[-6:] == ["layer3", "bn2", "relu2", "avgpool", "flatten", "fc"]


# A norm of C channels has 2C parameters; layers and their biases are those of norm_last.
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # bn1 32, bn2 32 in place of 64, bn3 64 before and bn4 512 behind fc1, which had one of 512.
        ("lenet5", {}, 583_146 + 2 * ((32 + 32 + 64 + 512) - (32 + 64 + 512))),
        # bn1 20, bn2 20 in place of 50, bn3 50.
        ("lenet5_caffe", {"batch_norm": True}, 431_150 + 2 * ((20 + 20 + 50) - (20 + 50))),
        # The first norm of layer2 sees 16 channels, not 32, that of layer3 32, not 64; and one of
        # 64 stands behind the last sum.
        ("resnet20", {}, 269_722 + 2 * ((16 - 32) + (32 - 64) + 64)),
        # As there, each of the three also in the projection; one of 512 behind the last sum.
        ("resnet18", {}, 11_689_512 + 2 * (2 * ((64 - 128) + (128 - 256) + (256 - 512)) + 512)),
        # 128 128 128 256 256 512 512 in place of 128 128 256 256 512 512.
        ("vgg_small", {}, 4_660_106 + 2 * 128),
        # As there, and one of 512 stands before fc1.
        ("vgg7", {}, 12_979_072 + 2 * 128),
        # 6 6 16 120 in place of 6 16 120.
        ("lenet_n2d2", {}, 61_754 + 2 * 6),
        # 32 32 64 128 in place of 32 64 128.
        ("simplenet", {}, 401_418 + 2 * 32),
    ],
)
def test_parameters_with_norms_first(name: str, options: dict[str, Any], expected: int) -> None:
    assert count_parameters(build(name, block_order="norm_first", **options)) == expected


@pytest.mark.parametrize(("name", "options"), NORM_FIRST)
def test_networks_with_norms_first_trace_and_train(name: str, options: dict[str, Any]) -> None:
    channels = ENTRIES[name].default_image_shape[0]
    side = 28 if name.startswith("lenet5") else SIDES.get(name, 32)
    shape = (channels, side, side)
    with torch.device("cpu"):
        module, function = str(ENTRIES[name].build).split(":")
        network = getattr(importlib.import_module(module), function)(7, shape, **options)
    images = torch.randn(2, *shape)
    network(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with torch.no_grad():
        traced = torch.fx.symbolic_trace(network)
        assert torch.equal(traced(images), network(images))


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "resnet18"])
def test_networks_with_norms_first_compile_to_one_graph(name: str) -> None:
    network = build(name, "cpu", block_order="norm_first").eval()
    channels = ENTRIES[name].default_image_shape[0]
    images = torch.randn(2, channels, *((28, 28) if name == "lenet5" else (64, 64)))
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images), network(images))


@pytest.mark.parametrize(("name", "options"), every_combination())
def test_no_other_activation_is_left_beside_the_chosen_one(
    name: str, options: dict[str, Any]
) -> None:
    chosen = type(ACTIVATIONS[options["activation"]]())
    types = {type(module) for module in build(name, **options).modules()}
    assert types & {type(make()) for make in ACTIVATIONS.values()} == {chosen}


@pytest.mark.parametrize(
    ("name", "options", "advice"),
    [
        ("lenet5", {"batch_norm": False}, 'leave out "batch_norm": false'),
        ("lenet5_caffe", {}, 'add "batch_norm": true'),
        ("lenet5_classic", {}, "take lenet5, which has them"),
        ("vgg16", {"batch_norm": False}, 'leave out "batch_norm": false'),
        ("alexnet_torchvision", {"batch_norm": False}, 'leave out "batch_norm": false'),
    ],
)
def test_networks_without_norms_cannot_have_them_first(
    name: str, options: dict[str, Any], advice: str
) -> None:
    message = (
        '"block_order": "norm_first" puts a norm before each inner layer, but the network has no '
        f"norms; {advice}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build(name, block_order="norm_first", **options)


@pytest.fixture
def plan(tmp_path: Any, monkeypatch: Any, capsys: Any) -> Callable[..., tuple[Any, str, str]]:
    """Return a function that runs `qcli plan`, and returns its exit code, stdout and stderr."""

    def run(name: str, options: dict[str, Any]) -> tuple[Any, str, str]:
        recipe = {
            "name": "mine",
            "default": {"output": {"quantizer": "lsq", "bits": 4, "signed": True}},
            "architecture_options": options,
        }
        (tmp_path / "mine.json").write_text(json.dumps(recipe))
        monkeypatch.chdir(tmp_path)
        command = ["qcli", "plan", "-a", name, "--quant-json", "mine.json", "--json"]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("options", "type_", "activations", "parameters"),
    [
        ({}, "ReLU", 19, 269_722),
        ({"activation": "hardtanh"}, "Hardtanh", 19, 269_722),
        ({"activation": "identity", "block_order": "norm_first"}, "Identity", 20, 269_754),
    ],
)
def test_a_quantization_recipe_says_what_its_method_requires(
    plan: Any, options: dict[str, Any], type_: str, activations: int, parameters: int
) -> None:
    code, out, error = plan("resnet20", options)
    assert (code, error) == (0, "")
    found = json.loads(out)
    assert [row["type"] for row in found["layers"] if row["output"]] == [type_] * activations
    assert found["totals"]["parameters"] == parameters


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet20",
            {"batch_norm": True},
            "mine.json: /architecture_options/batch_norm: unknown key; "
            "allowed: activation, block_order",
        ),
        (
            "resnet20",
            {"activation": "tanh"},
            'mine.json: /architecture_options/activation: found "tanh" (did you mean '
            '"hardtanh"?), allowed: relu, relu6, hardtanh, prelu, identity',
        ),
        (
            "torchvision:resnet18",
            {"activation": "hardtanh"},
            "mine.json: /architecture_options/activation: the method requires it, but "
            "torchvision:resnet18 has no options; choose another network: "
            "run `qcli list architectures`",
        ),
        (
            "lenet5_caffe",
            {"block_order": "norm_first"},
            'lenet5_caffe: "block_order": "norm_first" puts a norm before each inner layer, but '
            'the network has no norms; add "batch_norm": true',
        ),
    ],
)
def test_what_a_network_cannot_have_is_one_plain_line(
    plan: Any, name: str, options: dict[str, Any], message: str
) -> None:
    assert plan(name, options) == (2, "", f"error: {message}\n")
