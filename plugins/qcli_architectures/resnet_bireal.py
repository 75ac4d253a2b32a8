"""Bi-Real ResNet-18: sixteen blocks of one 3x3 convolution, each with a shortcut around it.

Every convolution but the first receives a sum, whose sign its input quantizer takes. Where the
shape changes, the shortcut is an average pooling, a 1x1 convolution (named `downsample.conv`) and a
norm; the paper keeps these three convolutions float.

Source: Liu et al., Bi-Real Net, ECCV 2018, arXiv:1808.00278; with PReLU as the authors of
    Yang et al., Searching for Low-Bit Weights, NeurIPS 2020, arXiv:2009.08695, have it
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, make_leading_norm
from qcli_architectures.chain import chain_layers
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.kaiming import initialize_fan_out
from qcli_architectures.residual_block import conv1x1, conv3x3, make_downsample, make_stage
from qcli_architectures.stem import make_stem


class BirealBlock(nn.Module):
    """A 3x3 convolution, an activation and a norm; the other order begins with the norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the convolution.
        activation: A name of `ACTIVATIONS`.
        block_order: "norm_last" or "norm_first".
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, activation: str, block_order: str
    ) -> None:
        super().__init__()
        convolution = conv3x3(in_channels, out_channels, stride)
        relu = make_activation(activation)
        if block_order == NORM_FIRST:
            norm = make_leading_norm(in_channels)
            self.branch = chain_layers({"bn": norm, "conv": convolution, "relu": relu})
        else:
            norm = nn.BatchNorm2d(out_channels)
            self.branch = chain_layers({"conv": convolution, "relu": relu, "bn": norm})
        shortcut = partial(_make_shortcut, block_order)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        result: Tensor = self.branch(x) + self.downsample(x)
        return result


def build_bireal_resnet18(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "identity",
    block_order: str = "norm_last",
    stem: str = "auto",
) -> nn.Module:
    """Return Bi-Real ResNet-18."""
    block = partial(BirealBlock, activation=activation, block_order=block_order)
    network = chain_layers(
        {
            **_make_stem(stem, image_shape),
            "layer1": make_stage(block, 4, 64, 64, stride=1),
            "layer2": make_stage(block, 4, 64, 128, stride=2),
            "layer3": make_stage(block, 4, 128, 256, stride=2),
            "layer4": make_stage(block, 4, 256, 512, stride=2),
            "bn2": nn.BatchNorm2d(512) if block_order == NORM_FIRST else None,
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(512, num_classes),
        }
    )
    initialize_fan_out(network)
    return network


def _make_stem(stem: str, image_shape: ImageShape) -> dict[str, nn.Module]:
    """Return the stem of ResNet-18 without its activation."""
    layers = make_stem(stem, image_shape, "identity")
    return {name: layer for name, layer in layers.items() if name != "relu"}


def _make_shortcut(block_order: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    # As many rows as the convolution of the branch leaves of an odd number.
    pool = nn.AvgPool2d(stride, ceil_mode=True)
    convolution = conv1x1(in_channels, out_channels)
    if block_order == NORM_FIRST:
        norm = make_leading_norm(in_channels)
        return chain_layers({"pool": pool, "bn": norm, "conv": convolution})
    norm = nn.BatchNorm2d(out_channels)
    return chain_layers({"pool": pool, "conv": convolution, "bn": norm})
