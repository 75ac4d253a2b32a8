"""ResNet-18, -34 and -50 with pre-activation blocks, as LQ-Nets trains them with low-bit inputs.

With the norms first they are the networks of `resnet.py` with their norms first.

Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv:1603.05027; in the
    form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029
"""

from __future__ import annotations

from functools import partial

from torch import nn

from qcli_architectures.block_order import NORM_FIRST
from qcli_architectures.chain import chain_layers
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.kaiming import initialize_fan_out
from qcli_architectures.norm_first_block import make_end
from qcli_architectures.preact_block import (
    AveragePoolShortcut,
    PreactBasicBlock,
    PreactBottleneck,
    make_preact_stage,
)
from qcli_architectures.residual_block import MakeShortcut, make_stage
from qcli_architectures.resnet import PROJECTIONS, RESNET18, RESNET34, RESNET50, Depth
from qcli_architectures.stem import make_stem


def build_resnet18_preact(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    stem: str = "auto",
    shortcut: str = "projection",
) -> nn.Module:
    """Return ResNet-18 of pre-activation blocks."""
    stages = _make_stages(RESNET18, activation, block_order, shortcut)
    return _build(stages, 512, num_classes, image_shape, activation, block_order, stem)


def build_resnet34_preact(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    stem: str = "auto",
    shortcut: str = "projection",
) -> nn.Module:
    """Return ResNet-34 of pre-activation blocks."""
    stages = _make_stages(RESNET34, activation, block_order, shortcut)
    return _build(stages, 512, num_classes, image_shape, activation, block_order, stem)


def build_resnet50_preact(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    stem: str = "auto",
    shortcut: str = "projection",
) -> nn.Module:
    """Return ResNet-50 of pre-activation blocks."""
    stages = _make_stages(RESNET50, activation, block_order, shortcut)
    return _build(stages, 2048, num_classes, image_shape, activation, block_order, stem)


def _build(
    stages: dict[str, nn.Module],
    width: int,
    num_classes: int,
    image_shape: ImageShape,
    activation: str,
    block_order: str,
    stem: str,
) -> nn.Module:
    network = chain_layers(
        {
            **make_stem(stem, image_shape, activation),
            **stages,
            **make_end(block_order, width, activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(width, num_classes),
        }
    )
    initialize_fan_out(network)
    return network


def _make_stages(
    depth: Depth, activation: str, block_order: str, shortcut: str
) -> dict[str, nn.Module]:
    make_shortcut: MakeShortcut = (
        AveragePoolShortcut if shortcut == "average_pool" else PROJECTIONS[block_order]
    )
    if block_order == NORM_FIRST:
        block = depth.blocks[NORM_FIRST]
        make = partial(make_stage, partial(block, shortcut=make_shortcut, activation=activation))
    else:
        preact = PreactBottleneck if depth is RESNET50 else PreactBasicBlock
        stage = partial(make_preact_stage, activation=activation)
        make = partial(stage, partial(preact, shortcut=make_shortcut, activation=activation))
    n1, n2, n3, n4 = depth.num_blocks
    c1, c2, c3, c4 = depth.channels
    return {
        "layer1": make(n1, 64, c1, stride=1),
        "layer2": make(n2, c1, c2, stride=2),
        "layer3": make(n3, c2, c3, stride=2),
        "layer4": make(n4, c3, c4, stride=2),
    }
