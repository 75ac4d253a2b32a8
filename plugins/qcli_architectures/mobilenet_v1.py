"""MobileNet-V1: thirteen pairs of a depthwise 3x3 and a pointwise 1x1 convolution.

Source: Howard et al., MobileNets, 2017, arXiv:1704.04861, table 1
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.chain import chain_layers
from qcli_architectures.convolution_unit import make_unit
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.kaiming import initialize_fan_in
from qcli_architectures.norm_first_block import make_end
from qcli_architectures.residual_block import conv1x1

# Output channels and stride of each pair, at width 1.
_PAIRS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)


def build_mobilenet_v1(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    width: float = 1.0,
) -> nn.Module:
    """Return MobileNet-V1, all channels times `width`, rounded down.

    Raises:
        ValueError: The width leaves no channel in the first layer.
    """
    stem, last = _scale(32, width), _scale(1024, width)
    network = chain_layers(
        {
            "conv1": nn.Conv2d(image_shape[0], stem, 3, stride=2, padding=1, bias=False),
            "bn1": nn.BatchNorm2d(stem),
            "relu": make_activation(activation),
            **_make_pairs(stem, width, activation, block_order),
            **make_end(block_order, last, activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(last, num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def make_depthwise(channels: int, stride: int) -> nn.Conv2d:
    """Return a 3x3 convolution of each channel by itself."""
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


def _make_pairs(
    in_channels: int, width: float, activation: str, block_order: str
) -> dict[str, nn.Module]:
    pairs: dict[str, nn.Module] = {}
    for number, (channels, stride) in enumerate(_PAIRS, start=1):
        out_channels = _scale(channels, width)
        depthwise = make_depthwise(in_channels, stride)
        pointwise = conv1x1(in_channels, out_channels)
        norms = nn.BatchNorm2d(in_channels), nn.BatchNorm2d(out_channels)
        pairs[f"block{number}"] = chain_layers(
            {
                "depthwise": make_unit(depthwise, norms[0], activation, block_order),
                "pointwise": make_unit(pointwise, norms[1], activation, block_order),
            }
        )
        in_channels = out_channels
    return pairs


def _scale(channels: int, width: float) -> int:
    scaled = int(channels * width)
    if scaled < 1:
        raise ValueError(
            f'"width": {width} leaves no channel of {channels}; the smallest allowed is {1 / 32}'
        )
    return scaled
