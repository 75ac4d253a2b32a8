"""The MobileNets: widths, torchvision's weights, and what is linear."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from qcli_architectures.mobilenet_v1 import build_mobilenet_v1
from qcli_architectures.mobilenet_v2 import build_mobilenet_v2

IMAGENET, SMALL = (3, 224, 224), (3, 32, 32)
BUILDS = {"mobilenet_v1": build_mobilenet_v1, "mobilenet_v2": build_mobilenet_v2}


@pytest.mark.parametrize("width", [1.0, 0.75, 1.4])
def test_torchvision_weights_load_into_v2_and_give_equal_outputs(width: float) -> None:
    theirs = torchvision.models.mobilenet_v2(weights=None, width_mult=width).eval()
    nn.init.normal_(theirs.features[0][1].running_mean)
    ours = build_mobilenet_v2(1000, IMAGENET, width=width).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


def test_v2_starts_as_torchvision_does() -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.mobilenet_v2(weights=None).state_dict()
    torch.manual_seed(1)
    ours = build_mobilenet_v2(1000, IMAGENET).state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


# Channels behind the first convolution and behind the first and last pair: all times the width.
@pytest.mark.parametrize(
    ("width", "channels"),
    [(1.0, (32, 64, 1024)), (0.75, (24, 48, 768)), (0.5, (16, 32, 512)), (0.25, (8, 16, 256))],
)
def test_widths_of_v1(width: float, channels: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        network = build_mobilenet_v1(10, IMAGENET, width=width)
    layers = ("conv1", "block1.pointwise.conv", "block13.pointwise.conv")
    assert tuple(network.get_submodule(layer).out_channels for layer in layers) == channels


def test_a_width_that_leaves_no_channel_is_refused() -> None:
    message = '"width": 0.03 leaves no channel of 32; the smallest allowed is 0.03125'
    with pytest.raises(ValueError, match=message):
        build_mobilenet_v1(10, IMAGENET, width=0.03)
    assert build_mobilenet_v1(10, SMALL, width=1 / 32)(torch.randn(2, *SMALL)).shape == (2, 10)


def test_depthwise_convolutions_see_one_channel_each() -> None:
    with torch.device("meta"):
        network = build_mobilenet_v1(10, IMAGENET)
    depthwise = [layer for layer in network.modules() if getattr(layer, "groups", 1) > 1]
    assert [layer.groups for layer in depthwise] == [
        *(32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024)
    ]
    assert [layer.stride[0] for layer in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]


@pytest.mark.parametrize("order", ["norm_last", "norm_first"])
def test_nothing_cuts_what_a_block_of_v2_gives_out(order: str) -> None:
    network = build_mobilenet_v2(10, SMALL, block_order=order).eval()
    outputs = []
    for block in list(network.get_submodule("features").children())[1:-1]:
        block.register_forward_hook(lambda module, args, out: outputs.append(out))
    with torch.no_grad():
        network(torch.randn(2, *SMALL))
    assert len(outputs) == 17
    assert all(output.min() < 0 for output in outputs)


def test_the_kept_expansion_of_v2_widens_nothing() -> None:
    with torch.device("meta"):
        network = build_mobilenet_v2(10, IMAGENET, keep_expansion=True)
    layer = network.get_submodule("features.1.conv.0.0")
    assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (32, 32, (1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("options", [{}, {"block_order": "norm_first"}])
def test_they_train_and_trace(name: str, options: dict[str, Any]) -> None:
    network = BUILDS[name](7, SMALL, **options)
    images = torch.randn(2, *SMALL)
    network(images).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(network)(images), network(images))
