"""The variant of GoogLeNet on which low-bit methods are compared.

No branch begins with a pooling, and the 1x1 reductions are as wide as the convolutions behind them.
Where a pooling follows the branches, each branch pools between its convolution and its norm; the
last block's activation stands behind the branches' concatenation.

Source: Cai et al., Deep Learning with Low Precision by Half-wave Gaussian Quantization, CVPR 2017,
    arXiv:1702.00953; in the form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, NORM_LAST
from qcli_architectures.chain import chain_layers
from qcli_architectures.convolution_unit import make_unit
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.inception_block import MakeUnit
from qcli_architectures.kaiming import initialize_fan_in


class VariantWidths(NamedTuple):
    """The channels of the three branches of a block."""

    conv1x1: int
    conv3x3: int
    conv5x5: int


_WIDTHS = {
    "3a": VariantWidths(96, 128, 32),
    "3b": VariantWidths(192, 192, 96),
    "4a": VariantWidths(256, 208, 48),
    "4b": VariantWidths(224, 224, 64),
    "4c": VariantWidths(192, 256, 64),
    "4d": VariantWidths(176, 288, 64),
    "4e": VariantWidths(384, 320, 128),
    "5a": VariantWidths(384, 320, 128),
    "5b": VariantWidths(512, 384, 128),
}


class VariantInception(nn.Module):
    """A 1x1 convolution, and a 3x3 and a 5x5 one behind 1x1 ones of equal width.

    Args:
        in_channels: Channels of the input.
        widths: Channels of the branches.
        unit: Makes a convolution with all that belongs to it.
        closing: Makes the last convolution of each branch.
    """

    def __init__(
        self, in_channels: int, widths: VariantWidths, unit: MakeUnit, closing: MakeUnit
    ) -> None:
        super().__init__()
        c1, c3, c5 = widths
        self.branch1 = closing(in_channels, c1, 1)
        self.branch2 = nn.Sequential(unit(in_channels, c3, 1), closing(c3, c3, 3))
        self.branch3 = nn.Sequential(unit(in_channels, c5, 1), closing(c5, c5, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, sum of widths, H, W], halved where `closing` pools."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x)], 1)


def build_googlenet_variant(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return the variant."""
    width = sum(_WIDTHS["5b"])
    network = chain_layers(
        {
            "conv1": nn.Conv2d(image_shape[0], 64, 7, stride=2, padding=3, bias=False),
            "pool1": _make_pool(),
            "bn1": nn.BatchNorm2d(64),
            "relu1": make_activation(activation),
            "conv2": _make_unit(activation, block_order, 64, 192, 1),
            "conv3": _make_pooled_unit(activation, block_order, 192, 192, 3),
            **_make_blocks(activation, block_order),
            "bn2": nn.BatchNorm2d(width) if block_order == NORM_FIRST else None,
            "relu2": make_activation(activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(width, num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def _make_blocks(activation: str, block_order: str) -> dict[str, nn.Module]:
    unit = partial(_make_unit, activation, block_order)
    pooled = partial(_make_pooled_unit, activation, block_order)
    last = _make_linear_unit if block_order == NORM_LAST else unit
    closings: dict[str, MakeUnit] = {"3b": pooled, "4e": pooled, "5b": last}
    layers: dict[str, nn.Module] = {}
    in_channels = 192
    for name, widths in _WIDTHS.items():
        closing = closings.get(name, unit)
        layers[f"inception{name}"] = VariantInception(in_channels, widths, unit, closing)
        in_channels = sum(widths)
    return layers


def _make_unit(
    activation: str, block_order: str, in_channels: int, out_channels: int, kernel: int
) -> nn.Module:
    convolution = _make_convolution(in_channels, out_channels, kernel)
    return make_unit(convolution, nn.BatchNorm2d(out_channels), activation, block_order)


def _make_pooled_unit(
    activation: str, block_order: str, in_channels: int, out_channels: int, kernel: int
) -> nn.Module:
    convolution = _make_convolution(in_channels, out_channels, kernel)
    norm = nn.BatchNorm2d(out_channels)
    return make_unit(convolution, norm, activation, block_order, pool=_make_pool())


def _make_linear_unit(in_channels: int, out_channels: int, kernel: int) -> nn.Module:
    convolution = _make_convolution(in_channels, out_channels, kernel)
    return chain_layers({"conv": convolution, "bn": nn.BatchNorm2d(out_channels)})


def _make_convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)


def _make_pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, padding=1)
