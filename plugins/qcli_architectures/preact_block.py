"""Residual blocks that begin with a norm and an activation, and stages of them.

A block gives on the sum as it is; the stage ends with a norm and an activation. Its first block
therefore begins with its first convolution: what it receives is normed and activated.

Where methods quantize what convolutions receive, the first block's shortcut keeps the tensor that
is not quantized, and a projection quantizes it as its own input. Where they quantize what
activations give out, the first block's branch and shortcut receive the same quantized tensor.

Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv:1603.05027; in the
    form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029
Differs: as in LQ-Nets, a norm follows the last convolution of a block too.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from qcli_architectures.activation import make_activation
from qcli_architectures.chain import chain_layers
from qcli_architectures.residual_block import MakeShortcut, conv1x1, conv3x3, make_downsample


class AveragePoolShortcut(nn.Module):
    """Pool by the average, and put zero channels behind; LQ-Nets' type A.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Height and width of a pool.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        # As many rows as a convolution of this stride leaves of an odd number.
        self.pool = nn.AvgPool2d(stride, ceil_mode=True)
        self.num_zeros = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        return functional.pad(self.pool(x), (0, 0, 0, 0, 0, self.num_zeros))


class PreactBasicBlock(nn.Module):
    """Two 3x3 convolutions.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of both convolutions.
        stride: Stride of the first convolution.
        shortcut: Makes the path around the block where the shape changes.
        activation: A name of `ACTIVATIONS`.
        is_first: Whether the block is a stage's first one, which begins with a convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: MakeShortcut,
        activation: str,
        is_first: bool,
    ) -> None:
        super().__init__()
        self.preact = None if is_first else _make_preact(in_channels, activation)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = make_activation(activation)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out = x if self.preact is None else self.preact(x)
        out = self.relu1(self.bn1(self.conv1(out)))
        out = self.bn2(self.conv2(out))
        result: Tensor = out + self.downsample(x)
        return result


class PreactBottleneck(nn.Module):
    """A 1x1 convolution to a quarter of the channels, a 3x3 one there, and a 1x1 one back.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, four times those inside.
        stride: Stride of the 3x3 convolution.
        shortcut: Makes the path around the block where the shape changes.
        activation: A name of `ACTIVATIONS`.
        is_first: Whether the block is a stage's first one, which begins with a convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: MakeShortcut,
        activation: str,
        is_first: bool,
    ) -> None:
        super().__init__()
        width = out_channels // 4
        self.preact = None if is_first else _make_preact(in_channels, activation)
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = make_activation(activation)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = make_activation(activation)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out = x if self.preact is None else self.preact(x)
        out = self.relu1(self.bn1(self.conv1(out)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        result: Tensor = out + self.downsample(x)
        return result


def make_preact_stage(
    block: Callable[..., nn.Module],
    num_blocks: int,
    in_channels: int,
    out_channels: int,
    stride: int,
    activation: str,
) -> nn.Sequential:
    """Return a row of blocks, and the norm and activation behind the last sum."""
    blocks = [block(in_channels, out_channels, stride, is_first=True)]
    blocks += [block(out_channels, out_channels, 1, is_first=False) for _ in range(1, num_blocks)]
    return chain_layers(
        {
            **{str(number): each for number, each in enumerate(blocks)},
            "bn": nn.BatchNorm2d(out_channels),
            "relu": make_activation(activation),
        }
    )


def _make_preact(channels: int, activation: str) -> nn.Sequential:
    return chain_layers({"bn": nn.BatchNorm2d(channels), "relu": make_activation(activation)})
