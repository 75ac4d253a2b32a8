"""GoogLeNet in torchvision's form and in the paper's, and the variant of low-bit methods."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import qcli
import qcli_architectures
from qcli.quantization.survey import survey_model

IMAGENET, SMALL = (3, 224, 224), (3, 32, 32)
BUILDS = {
    entry.name: str(entry.build) for entry in qcli_architectures.qcli_register_architectures()
}


def build(
    name: str, num_classes: int = 10, image_shape: Any = SMALL, device: str = "meta", **options: Any
) -> nn.Module:
    module, function = BUILDS[name].split(":")
    with torch.device(device):
        network: nn.Module = getattr(importlib.import_module(module), function)(
            num_classes, image_shape, **options
        )
    return network


def test_torchvision_weights_load_into_googlenet_and_give_equal_outputs() -> None:
    theirs = torchvision.models.googlenet(weights=None, init_weights=True).eval()
    nn.init.normal_(theirs.conv1.bn.running_mean)
    ours = build("googlenet", 1000, IMAGENET, "cpu").eval()
    state = {key: value for key, value in theirs.state_dict().items() if key[:3] != "aux"}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.slow
def test_googlenet_starts_as_torchvision_does() -> None:
    torch.manual_seed(1)
    model = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=True)
    torch.manual_seed(1)
    ours = build("googlenet", 1000, IMAGENET, "cpu").state_dict()
    assert all(torch.equal(ours[key], value) for key, value in model.state_dict().items())


# Caffe's "xavier" is uniform up to sqrt(3 / fan-in); N2D2's over the fan-out up to sqrt(3 / it).
@pytest.mark.parametrize(
    ("name", "options", "inputs"),
    [("googlenet", {"batch_norm": False}, True), ("inception_v1", {}, False)],
)
def test_uniform_initialization(name: str, options: dict[str, Any], inputs: bool) -> None:
    torch.manual_seed(0)
    network = build(name, 100, device="cpu", **options)
    layer = network.get_submodule("inception3a.branch2.1.conv")
    assert (layer.in_channels, layer.out_channels) == (96, 128)
    bound = (3 / ((96 if inputs else 128) * 9)) ** 0.5
    assert layer.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    if inputs:
        assert torch.equal(layer.bias, torch.full([128], 0.2))


@pytest.mark.parametrize(("branch", "kernel", "pool"), [("3x3", 3, 2), ("5x5", 5, 3)])
def test_what_the_option_branch_changes(branch: str, kernel: int, pool: int) -> None:
    network = build("googlenet", branch=branch)
    kernels = {
        network.get_submodule(f"inception{name}.branch3.1.conv").kernel_size
        for name in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    }
    assert kernels == {(kernel, kernel)}
    assert network.get_submodule("maxpool4").kernel_size == pool
    assert network.get_submodule("maxpool3").kernel_size == 3


# The maps between the stages, from the table 1 of the paper.
@pytest.mark.parametrize("name", ["googlenet", "inception_v1", "googlenet_variant"])
@pytest.mark.parametrize("order", ["norm_last", "norm_first"])
def test_the_sizes_of_the_maps(name: str, order: str) -> None:
    network = build(name, 10, IMAGENET, block_order=order)
    visits = survey_model(network, IMAGENET).visits
    found = {part: visits[part].input_shape for part, _ in network.named_children()}
    assert found["conv2"] == (64, 56, 56)
    assert found["inception3a"] == (192, 28, 28)
    assert found["inception4a"] == (480, 14, 14)
    assert found["inception5a"] == (832, 7, 7)
    assert found["avgpool"] == (1024, 7, 7)


# Where a pooling follows it stands before the norm; the last block's activation behind all.
@pytest.mark.parametrize(
    ("part", "order"),
    [
        ("conv2", "conv bn relu"),
        ("conv3", "conv pool bn relu"),
        ("inception3a.branch2.1", "conv bn relu"),
        ("inception3b.branch1", "conv pool bn relu"),
        ("inception4e.branch3.1", "conv pool bn relu"),
        ("inception4e.branch3.0", "conv bn relu"),
        ("inception5b.branch2.0", "conv bn relu"),
        ("inception5b.branch2.1", "conv bn"),
    ],
)
def test_the_order_in_the_variant(part: str, order: str) -> None:
    network = build("googlenet_variant")
    assert [name for name, _ in network.get_submodule(part).named_children()] == order.split()
    names = [name for name, _ in network.named_children()]
    assert names[:4] == ["conv1", "pool1", "bn1", "relu1"]
    assert names[-5:] == ["inception5b", "relu2", "avgpool", "flatten", "fc"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v1", "googlenet_variant"])
def test_they_train_trace_and_have_no_functional_activation(name: str) -> None:
    network = build(name, device="cpu")
    images = torch.randn(2, *SMALL)
    network(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    traced = torch.fx.symbolic_trace(network)
    with torch.no_grad():
        assert torch.equal(traced(images), network(images))
    functions = {str(node.target) for node in traced.graph.nodes if node.op != "call_module"}
    assert not [function for function in functions if "relu" in function]


@pytest.mark.parametrize(
    ("name", "options", "side", "smallest"),
    [
        ("googlenet", {}, 16, 17),
        ("googlenet", {"branch": "5x5"}, 30, 31),
        ("inception_v1", {}, 16, 17),
    ],
)
def test_images_too_small_are_refused(
    name: str, options: dict[str, Any], side: int, smallest: int
) -> None:
    message = f"{name}: images of 3x{side}x{side} .* smallest allowed are 3x{smallest}x{smallest}"
    with pytest.raises(qcli.UsageError, match=message):
        build(name, image_shape=(3, side, side), **options)
    images = torch.empty(2, 3, smallest, smallest, device="meta")
    network = build(name, image_shape=(3, smallest, smallest), **options)
    assert network(images).shape == (2, 10)
