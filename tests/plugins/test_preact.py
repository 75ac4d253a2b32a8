"""The residual networks whose blocks begin with a norm, and those that take signs of sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from qcli.quantization.survey import survey_model
from qcli_architectures.preact_block import AveragePoolShortcut
from qcli_architectures.resnet_bireal import build_bireal_resnet18
from qcli_architectures.resnet_preact import (
    build_resnet18_preact,
    build_resnet34_preact,
    build_resnet50_preact,
)

IMAGENET, SMALL = (3, 224, 224), (3, 32, 32)
PREACT = {18: build_resnet18_preact, 34: build_resnet34_preact, 50: build_resnet50_preact}
BUILDS = {f"preact{depth}": build for depth, build in PREACT.items()}
BUILDS["bireal"] = build_bireal_resnet18


def build_meta(make: Any, *arguments: Any, **options: Any) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = make(*arguments, **options)
    return network


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# A norm of C channels has 2C parameters: one stands before every block but the first of its stage,
# one behind every stage.
def test_parameters_of_resnet50() -> None:
    before = 2 * 256 + 3 * 512 + 5 * 1024 + 2 * 2048
    behind = 256 + 512 + 1024 + 2048
    network = build_meta(PREACT[50], 1000, IMAGENET)
    assert count_parameters(network) == 25_557_032 + 2 * (before + behind)


@pytest.mark.parametrize(("depth", "projections"), [(18, 3), (34, 3), (50, 4)])
def test_average_pooling_has_no_parameters(depth: int, projections: int) -> None:
    channels = {3: [(64, 128), (128, 256), (256, 512)]}
    channels[4] = [(64, 256), (256, 512), (512, 1024), (1024, 2048)]
    removed = sum(inside * out + 2 * out for inside, out in channels[projections])
    counts = [
        count_parameters(build_meta(PREACT[depth], 1000, IMAGENET, shortcut=shortcut))
        for shortcut in ("projection", "average_pool")
    ]
    assert counts[0] - counts[1] == removed


def test_average_pool_shortcut_by_hand() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    expected = torch.zeros(1, 3, 2, 2)
    expected[0, 0] = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    assert torch.equal(AveragePoolShortcut(1, 3, stride=2)(images), expected)


def test_only_the_first_block_of_a_stage_begins_with_its_convolution() -> None:
    network = build_meta(build_resnet18_preact, 10, IMAGENET)
    names = [name for name, _ in network.named_modules() if name.endswith(".preact")]
    assert names == [f"layer{stage}.1.preact" for stage in (1, 2, 3, 4)]
    for name in names:
        parts = [part for part, _ in network.get_submodule(name).named_children()]
        assert parts == ["bn", "relu"]


def test_what_feeds_the_layers_of_a_preactivation_network() -> None:
    network = build_meta(build_resnet18_preact, 10, IMAGENET)
    survey = survey_model(network, IMAGENET)
    assert survey.producers["layer1.0.conv1"] == "relu"
    assert survey.producers["layer1.1.conv1"] == "layer1.1.preact.relu"
    assert survey.producers["layer2.0.conv1"] == "layer1.relu"
    assert survey.producers["layer2.0.downsample.0"] == "layer1.relu"
    assert survey.producers["layer2.0.conv2"] == "layer2.0.relu1"
    assert set(survey.called(network)[1:]) <= survey.nonnegative["input"]


@pytest.mark.parametrize("name", ["preact18", "preact50", "bireal"])
def test_the_shortcut_of_a_block_that_keeps_its_shape_is_its_input(name: str) -> None:
    block = BUILDS[name](10, SMALL).get_submodule("layer1.1")
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.zeros_(norm.weight)
    images = torch.randn(2, 256 if name == "preact50" else 64, 4, 4)
    assert torch.equal(block(images), images)


def test_a_bireal_network_has_sixteen_blocks_of_one_convolution() -> None:
    network = build_meta(build_bireal_resnet18, 1000, IMAGENET)
    named = dict(network.named_modules())
    branches = [module for name, module in named.items() if name.endswith(".branch")]
    assert [[name for name, _ in branch.named_children()] for branch in branches] == [
        ["conv", "relu", "bn"]
    ] * 16
    shortcuts = [module for name, module in named.items() if name.endswith(".downsample.conv")]
    assert [layer.kernel_size for layer in shortcuts] == [(1, 1)] * 3
    assert [name for name, _ in network.named_children()][:4] == [
        *("conv1", "bn1", "maxpool", "layer1")
    ]


@pytest.mark.parametrize("activation", ["identity", "prelu", "relu"])
def test_convolutions_of_a_bireal_network_receive_both_signs(activation: str) -> None:
    network = build_bireal_resnet18(10, SMALL, activation=activation).eval()
    inputs = []
    for name, layer in network.named_modules():
        if name.endswith("branch.conv"):
            layer.register_forward_hook(lambda module, args, out: inputs.append(args[0]))
    with torch.no_grad():
        network(torch.randn(2, *SMALL))
    assert len(inputs) == 16
    assert all(each.min() < 0 < each.max() for each in inputs)


@pytest.mark.parametrize("name", ["preact18", "bireal"])
def test_odd_image_sizes_fit_every_shortcut(name: str) -> None:
    options = [{}] if name == "bireal" else [{}, {"shortcut": "average_pool"}]
    for each in options:
        for side in (33, 75):
            network = build_meta(BUILDS[name], 7, (3, side, side), **each)
            assert network(torch.empty(2, 3, side, side, device="meta")).shape == (2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDS)
def test_they_train_and_trace(name: str) -> None:
    network = BUILDS[name](7, SMALL)
    images = torch.randn(2, *SMALL)
    network(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(network)(images), network(images))
