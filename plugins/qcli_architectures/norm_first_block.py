"""The residual blocks that begin with a norm, and what stands behind the last of them.

Norm, convolution and activation follow each other within the branch. Nothing is done to the sum,
nor to a shortcut that keeps its input's shape.

Source: Rastegari et al., XNOR-Net, ECCV 2016, arXiv:1603.05279; the blocks: He et al., Deep
    Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385
"""

from __future__ import annotations

from torch import Tensor, nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, NORM_LAST, make_leading_norm
from qcli_architectures.chain import chain_layers
from qcli_architectures.residual_block import (
    BasicBlock,
    Bottleneck,
    MakeShortcut,
    conv1x1,
    conv3x3,
    make_downsample,
)


class NormFirstBasicBlock(nn.Module):
    """Two 3x3 convolutions, each behind a norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of both convolutions.
        stride: Stride of the first convolution.
        shortcut: Makes the path around the block where the shape changes.
        activation: A name of `ACTIVATIONS`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: MakeShortcut,
        activation: str,
    ) -> None:
        super().__init__()
        self.bn1 = make_leading_norm(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.relu1 = make_activation(activation)
        self.bn2 = make_leading_norm(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.relu2 = make_activation(activation)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out = self.relu1(self.conv1(self.bn1(x)))
        out = self.relu2(self.conv2(self.bn2(out)))
        result: Tensor = out + self.downsample(x)
        return result


class NormFirstBottleneck(nn.Module):
    """A 1x1 convolution to a quarter of the channels, a 3x3 one and a 1x1 one, each behind a norm.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, four times those inside.
        stride: Stride of the 3x3 convolution.
        shortcut: Makes the path around the block where the shape changes.
        activation: A name of `ACTIVATIONS`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: MakeShortcut,
        activation: str,
    ) -> None:
        super().__init__()
        width = out_channels // 4
        self.bn1 = make_leading_norm(in_channels)
        self.conv1 = conv1x1(in_channels, width)
        self.relu1 = make_activation(activation)
        self.bn2 = make_leading_norm(width)
        self.conv2 = conv3x3(width, width, stride)
        self.relu2 = make_activation(activation)
        self.bn3 = make_leading_norm(width)
        self.conv3 = conv1x1(width, out_channels)
        self.relu3 = make_activation(activation)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out = self.relu1(self.conv1(self.bn1(x)))
        out = self.relu2(self.conv2(self.bn2(out)))
        out = self.relu3(self.conv3(self.bn3(out)))
        result: Tensor = out + self.downsample(x)
        return result


BASIC_BLOCKS = {NORM_LAST: BasicBlock, NORM_FIRST: NormFirstBasicBlock}
BOTTLENECKS = {NORM_LAST: Bottleneck, NORM_FIRST: NormFirstBottleneck}


def make_end(block_order: str, channels: int, activation: str) -> dict[str, nn.Module]:
    """Return the norm and activation behind the last sum, where the blocks have none."""
    if block_order == NORM_LAST:
        return {}
    return {"bn2": nn.BatchNorm2d(channels), "relu2": make_activation(activation)}


def make_norm_first_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return a norm and a 1x1 convolution; the layer has its name of the other order, `0`."""
    projection = conv1x1(in_channels, out_channels, stride)
    return chain_layers({"1": make_leading_norm(in_channels), "0": projection})
