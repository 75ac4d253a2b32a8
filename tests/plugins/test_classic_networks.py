"""The classic networks against their sources: orders, sizes of images and maps, starts, weights."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import qcli
import qcli_architectures
from qcli.cli import main
from qcli.quantization.survey import quantizable_layers, survey_model
from qcli_architectures.chain import chain_groups

ENTRIES = {entry.name: entry for entry in qcli_architectures.qcli_register_architectures()}
CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


def find_build(name: str) -> Callable[..., nn.Module]:
    module, function = str(ENTRIES[name].build).split(":")
    return getattr(importlib.import_module(module), function)


def build(
    name: str, num_classes: int, image_shape: tuple[int, int, int], device: str, **options: Any
) -> nn.Module:
    with torch.device(device):
        return find_build(name)(num_classes, image_shape, **options)


def test_resnet50_of_the_cifar_family_has_eight_blocks_in_each_stage() -> None:
    network = build("resnet50_6n2", 10, CIFAR, "meta")
    assert [len(network.get_submodule(f"layer{stage}")) for stage in (1, 2, 3)] == [8, 8, 8]
    assert len(list(quantizable_layers(network))) == 50


@pytest.mark.parametrize(
    ("name", "options", "order"),
    [
        (
            "lenet_n2d2",
            {},
            "conv1 bn1 relu1 pool1 conv2 bn2 relu2 pool2 conv3 bn3 relu3 dropout1 flatten fc1 "
            "dropout2 fc2",
        ),
        (
            "simplenet",
            {},
            "conv1 bn1 relu1 conv2 bn2 relu2 conv3 bn3 relu3 avgpool flatten fc1 sigmoid fc2",
        ),
        (
            "vgg7",
            {},
            "conv1 bn1 relu1 conv2 pool2 bn2 relu2 conv3 bn3 relu3 conv4 pool4 bn4 relu4 "
            "conv5 bn5 relu5 conv6 pool6 bn6 relu6 flatten fc1 bn7 relu7 fc2",
        ),
        (
            "vgg_variant",
            {},
            "conv1 relu_conv1 pool1 bn1 relu1 "
            "conv2_1 bn2_1 relu2_1 conv2_2 bn2_2 relu2_2 conv2_3 pool2 bn2_3 relu2_3 "
            "conv3_1 bn3_1 relu3_1 conv3_2 bn3_2 relu3_2 conv3_3 pool3 bn3_3 relu3_3 "
            "conv4_1 bn4_1 relu4_1 conv4_2 bn4_2 relu4_2 conv4_3 pool4 bn4_3 relu4_3 "
            "fc5 bn5 relu5 fc6 bn6 relu6 flatten fc7",
        ),
        (
            "alexnet",
            {},
            "conv1 pool1 bn1 relu1 conv2 pool2 bn2 relu2 conv3 bn3 relu3 conv4 bn4 relu4 "
            "conv5 pool5 bn5 relu5 fc6 bn6 relu6 fc7 bn7 relu7 flatten fc8",
        ),
        (
            "alexnet_dorefa",
            {},
            "conv1 relu1 conv2 bn2 pool2 relu2 conv3 bn3 pool3 relu3 conv4 bn4 relu4 "
            "conv5 bn5 pool5 relu5 flatten fc6 bn6 relu6 fc7 bn7 relu7 fc8",
        ),
    ],
)
def test_orders_of_the_sources(name: str, options: dict[str, Any], order: str) -> None:
    entry = ENTRIES[name]
    network = build(name, 10, entry.default_image_shape, "meta", **options)
    assert [child for child, _ in network.named_children()] == order.split()


def test_lenet_n2d2_has_no_biases_and_two_dropouts() -> None:
    network = build("lenet_n2d2", 10, (1, 32, 32), "meta", dropout=0.25)
    assert all(layer.bias is None for _, layer in quantizable_layers(network))
    rates = [module.p for module in network.modules() if isinstance(module, nn.Dropout)]
    assert rates == [0.25, 0.25]


# (227 - 11) / 4 + 1 = 55, halved to 27, 13 and 6; in DoReFa-Net's 54, 27, 14 and 6.
@pytest.mark.parametrize(
    ("name", "side", "sides"),
    [("alexnet", 227, [55, 27, 13, 6]), ("alexnet_dorefa", 224, [54, 27, 14, 6])],
)
def test_map_sizes_of_alexnet(name: str, side: int, sides: list[int]) -> None:
    network = build(name, 10, (3, side, side), "meta")
    visits = survey_model(network, (3, side, side)).visits
    poolings = [layer for layer in visits if layer.startswith("pool")]
    assert [visits[layer].output_shape[-1] for layer in ["conv1", *poolings]] == sides


def test_pooling_of_dorefa_pads_as_tensorflow_does() -> None:
    """Of 6 pixels the windows begin at 0, 2, 4, of 5 at -1, 1, 3; each has 3 pixels."""
    even = build("alexnet_dorefa", 10, (3, 48, 48), "meta").get_submodule("pool2")
    odd = build("alexnet_dorefa", 10, (3, 52, 52), "meta").get_submodule("pool2")
    for pool, row, expected in (
        (even, [5.0, 1.0, 2.0, 0.0, 3.0, 4.0], [5.0, 3.0, 4.0]),
        (odd, [5.0, 1.0, 2.0, 0.0, 9.0], [5.0, 2.0, 9.0]),
    ):
        image = torch.tensor(row).expand(1, 1, len(row), len(row))
        assert pool(image)[0, 0].tolist() == [expected] * 3


def test_groups_become_children() -> None:
    layers = {"a": nn.ReLU(), "b.1": nn.ReLU(), "b.2": nn.ReLU(), "c": nn.ReLU()}
    names = [name for name, _ in chain_groups(layers).named_modules() if name]
    assert names == ["a", "b", "b.1", "b.2", "c"]


# What strides and poolings need; one pixel less is refused.
SMALLEST = {
    **{"lenet_n2d2": 32, "simplenet": 13, "vgg7": 8, "vgg16": 32, "vgg_variant": 31},
    **{"alexnet": 67, "alexnet_dorefa": 44, "alexnet_xnor": 63, "alexnet_torchvision": 63},
}


@pytest.mark.parametrize(("name", "side"), SMALLEST.items())
def test_the_smallest_images(name: str, side: int) -> None:
    network = build(name, 7, (2, side, side + 5), "meta")
    assert network(torch.empty(2, 2, side, side + 5, device="meta")).shape == (2, 7)
    found, smallest = f"2x{side - 1}x{side + 5}", f"2x{side}x{side}"
    message = f"{name}: images of {found} are too small; the smallest allowed are {smallest}"
    with pytest.raises(qcli.UsageError, match=message):
        build(name, 7, (2, side - 1, side + 5), "meta")


def test_the_smallest_images_of_the_pytorch_form_of_xnor() -> None:
    network = build("alexnet_xnor", 7, (3, 67, 67), "meta", form="pytorch")
    assert network(torch.empty(2, 3, 67, 67, device="meta")).shape == (2, 7)
    with pytest.raises(qcli.UsageError, match="smallest allowed are 3x67x67"):
        build("alexnet_xnor", 7, (3, 66, 67), "meta", form="pytorch")


def test_alexnet_xnor_knows_one_order() -> None:
    with pytest.raises(ValueError, match='found "block_order": "norm_last", allowed: norm_first'):
        build("alexnet_xnor", 10, IMAGENET, "meta", block_order="norm_last")


# Millions of weights take seconds to draw.
NORM_LAST = [
    pytest.param("lenet_n2d2", {}, 32),
    pytest.param("simplenet", {}, 16),
    *(
        pytest.param(*arguments, marks=pytest.mark.slow)
        for arguments in (
            ("resnet50_6n2", {}, 16),
            ("vgg7", {}, 8),
            ("vgg16", {"head": "cifar"}, 32),
            ("vgg16", {"head": "cifar_wide", "batch_norm": False}, 32),
            ("vgg_variant", {}, 32),
            ("vgg_variant", {"form": "hwgq"}, 32),
            ("alexnet", {}, 67),
            ("alexnet", {"form": "hwgq"}, 67),
            ("alexnet_dorefa", {}, 44),
            ("alexnet_xnor", {"form": "torch7"}, 63),
            ("alexnet_xnor", {"form": "pytorch"}, 67),
            ("alexnet_torchvision", {}, 63),
        )
    ),
]


@pytest.mark.parametrize(("name", "options", "side"), NORM_LAST)
def test_networks_trace_and_train(name: str, options: dict[str, Any], side: int) -> None:
    channels = ENTRIES[name].default_image_shape[0]
    network = build(name, 7, (channels, side, side), "cpu", **options)
    images = torch.randn(2, channels, side, side)
    network(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with torch.no_grad():
        traced = torch.fx.symbolic_trace(network)
        assert torch.equal(traced(images), network(images))


TORCHVISION = [
    ("vgg16", {}, "vgg16_bn"),
    ("vgg16", {"batch_norm": False}, "vgg16"),
    ("alexnet_torchvision", {"batch_norm": False}, "alexnet"),
]


@pytest.mark.parametrize(("name", "options", "theirs"), TORCHVISION)
def test_states_have_torchvisions_names_and_shapes(
    name: str, options: dict[str, Any], theirs: str
) -> None:
    with torch.device("meta"):
        expected = torchvision.models.get_model(theirs, weights=None).state_dict()
    found = build(name, 1000, IMAGENET, "meta", **options).state_dict()
    assert [(key, value.shape) for key, value in found.items()] == [
        (key, value.shape) for key, value in expected.items()
    ]


# 138 million weights are drawn twice.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "theirs"), TORCHVISION)
def test_networks_start_as_torchvisions_and_give_equal_outputs(
    name: str, options: dict[str, Any], theirs: str
) -> None:
    torch.manual_seed(1)
    original = torchvision.models.get_model(theirs, weights=None, num_classes=10).eval()
    torch.manual_seed(1)
    ours = build(name, 10, IMAGENET, "cpu", **options).eval()
    state = original.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items())
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(ours(images), original(images))


@pytest.mark.slow
def test_initialization_of_alexnet() -> None:
    torch.manual_seed(0)
    network = build("alexnet", 1000, (3, 67, 67), "cpu")
    for name, layer in quantizable_layers(network):
        deviation = 0.005 if name in ("fc6", "fc7") else 0.01
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        *[("lenet_n2d2", "dorefa-w4a4"), ("simplenet", "dorefa-w4a4"), ("vgg7", "dorefa-w4a4")],
        *[("vgg16", "dorefa-w4a4"), ("vgg_variant", "dorefa-w4a4"), ("alexnet", "dorefa-w4a4")],
        *[("alexnet_dorefa", "dorefa-w4a4"), ("alexnet_torchvision", "dorefa-w4a4")],
        *[("alexnet_xnor", "xnor-w1a1"), ("lenet_n2d2", "xnor-w1a1"), ("vgg16", "xnor-w1a1")],
        *[("googlenet", "search-1b"), ("googlenet_variant", "lq_nets-w2a2")],
        *[("mobilenet_v1", "dorefa-w4a4"), ("mobilenet_v2", "search-1b")],
        *[("resnet18_preact", "lq_nets-w2a2"), ("bireal_resnet18", "xnor-w1a1")],
    ],
)
def test_presets_quantize_all_layers_but_the_ends(
    monkeypatch: Any, capsys: Any, name: str, recipe: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["qcli", "plan", "-a", name, "--quant-json", recipe, "--json"])
    with pytest.raises(SystemExit) as caught:
        main()
    output, error = capsys.readouterr()
    assert (caught.value.code, error) == (0, "")
    rows = [row for row in json.loads(output)["layers"] if row["weights"]]
    floats = [row["layer"] for row in rows if not row["weight"]]
    assert floats == [ENTRIES[name].first_layer, ENTRIES[name].last_layer]
    assert len(rows) > len(floats)
