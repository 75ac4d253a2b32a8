"""The residual networks of 6n + 2 layers for small images, with parameter-free shortcuts.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385,
    section 4.2
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from qcli_architectures.activation import make_activation
from qcli_architectures.chain import chain_layers
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.kaiming import initialize_fan_in
from qcli_architectures.norm_first_block import BASIC_BLOCKS, make_end
from qcli_architectures.residual_block import conv3x3, make_stage


class ZeroPadShortcut(nn.Module):
    """The paper's option A: subsample the pixels, and put zero channels on both sides.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; the difference is even.
        stride: Distance of the pixels that are kept.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.zeros_each_side = (out_channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, self.zeros_each_side, self.zeros_each_side))


def build_resnet20(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return ResNet-20: 3 blocks in each stage."""
    return _build(3, num_classes, image_shape, activation, block_order)


def build_resnet32(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return ResNet-32: 5 blocks in each stage."""
    return _build(5, num_classes, image_shape, activation, block_order)


def build_resnet44(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return ResNet-44: 7 blocks in each stage."""
    return _build(7, num_classes, image_shape, activation, block_order)


def build_resnet50_6n2(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return the ResNet-50 of this family, not the one for ImageNet: 8 blocks in each stage."""
    return _build(8, num_classes, image_shape, activation, block_order)


def build_resnet56(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return ResNet-56: 9 blocks in each stage."""
    return _build(9, num_classes, image_shape, activation, block_order)


def build_resnet110(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return ResNet-110: 18 blocks in each stage."""
    return _build(18, num_classes, image_shape, activation, block_order)


def build_resnet1202(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return ResNet-1202: 200 blocks in each stage."""
    return _build(200, num_classes, image_shape, activation, block_order)


def _build(
    num_blocks: int, num_classes: int, image_shape: ImageShape, activation: str, block_order: str
) -> nn.Module:
    block = partial(BASIC_BLOCKS[block_order], shortcut=ZeroPadShortcut, activation=activation)
    network = chain_layers(
        {
            "conv1": conv3x3(image_shape[0], 16),
            "bn1": nn.BatchNorm2d(16),
            "relu": make_activation(activation),
            "layer1": make_stage(block, num_blocks, 16, 16, stride=1),
            "layer2": make_stage(block, num_blocks, 16, 32, stride=2),
            "layer3": make_stage(block, num_blocks, 32, 64, stride=2),
            **make_end(block_order, 64, activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(64, num_classes),
        }
    )
    initialize_fan_in(network)
    return network
