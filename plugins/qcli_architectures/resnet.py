"""ResNet-18, -34 and -50 with projection shortcuts; torchvision's weights load into them.

They differ from torchvision's own in one thing: every activation is a module of its own, so that
each can have a quantizer. With the default activation and block order, and the imagenet stem,
parameters, their initialization, and outputs are the same bit for bit.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385,
    table 1
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import nn

from qcli_architectures.block_order import NORM_FIRST, NORM_LAST
from qcli_architectures.chain import chain_layers
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.kaiming import initialize_fan_out
from qcli_architectures.norm_first_block import (
    BASIC_BLOCKS,
    BOTTLENECKS,
    make_end,
    make_norm_first_projection,
)
from qcli_architectures.residual_block import conv1x1, make_stage
from qcli_architectures.stem import make_stem


@dataclass(frozen=True)
class Depth:
    """What tells one network of the family from another: its block, and the rows of blocks."""

    blocks: Mapping[str, Callable[..., nn.Module]]
    num_blocks: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]


RESNET18 = Depth(BASIC_BLOCKS, (2, 2, 2, 2), (64, 128, 256, 512))
RESNET34 = Depth(BASIC_BLOCKS, (3, 4, 6, 3), (64, 128, 256, 512))
RESNET50 = Depth(BOTTLENECKS, (3, 4, 6, 3), (256, 512, 1024, 2048))


def build_resnet18(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    stem: str = "auto",
) -> nn.Module:
    """Return ResNet-18."""
    return _build(RESNET18, num_classes, image_shape, activation, block_order, stem)


def build_resnet34(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    stem: str = "auto",
) -> nn.Module:
    """Return ResNet-34."""
    return _build(RESNET34, num_classes, image_shape, activation, block_order, stem)


def build_resnet50(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    stem: str = "auto",
) -> nn.Module:
    """Return ResNet-50."""
    return _build(RESNET50, num_classes, image_shape, activation, block_order, stem)


def _build(
    depth: Depth,
    num_classes: int,
    image_shape: ImageShape,
    activation: str,
    block_order: str,
    stem: str,
) -> nn.Module:
    shortcut = PROJECTIONS[block_order]
    block = partial(depth.blocks[block_order], shortcut=shortcut, activation=activation)
    n1, n2, n3, n4 = depth.num_blocks
    c1, c2, c3, c4 = depth.channels
    network = chain_layers(
        {
            **make_stem(stem, image_shape, activation),
            "layer1": make_stage(block, n1, 64, c1, stride=1),
            "layer2": make_stage(block, n2, c1, c2, stride=2),
            "layer3": make_stage(block, n3, c2, c3, stride=2),
            "layer4": make_stage(block, n4, c3, c4, stride=2),
            **make_end(block_order, c4, activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(c4, num_classes),
        }
    )
    initialize_fan_out(network)
    return network


def _make_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


PROJECTIONS = {NORM_LAST: _make_projection, NORM_FIRST: make_norm_first_projection}
