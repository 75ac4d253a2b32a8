"""The two residual blocks, and stages of them; not the shortcuts, which differ by network.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from qcli_architectures.activation import make_activation

# Called with in_channels, out_channels and stride.
MakeShortcut = Callable[[int, int, int], nn.Module]
MakeBlock = Callable[[int, int, int], nn.Module]


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias: batch normalization follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps height and width at stride 1; without bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def make_downsample(
    in_channels: int, out_channels: int, stride: int, shortcut: MakeShortcut
) -> nn.Module:
    """Return an empty row of layers where the block keeps its input's shape, else a shortcut.

    It is no `nn.Identity`: that one is an activation, whose output recipes quantize.
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    return shortcut(in_channels, out_channels, stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions.

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
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = make_activation(activation)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)
        self.relu2 = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        result: Tensor = self.relu2(out + self.downsample(x))
        return result


class Bottleneck(nn.Module):
    """A 1x1 convolution to a quarter of the channels, a 3x3 one there, and a 1x1 one back.

    Differs: the stride is in the 3x3 convolution, as in torchvision, not in the first 1x1.

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
        self.conv1 = conv1x1(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = make_activation(activation)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = make_activation(activation)
        self.conv3 = conv1x1(width, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = make_downsample(in_channels, out_channels, stride, shortcut)
        self.relu3 = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        result: Tensor = self.relu3(out + self.downsample(x))
        return result


def make_stage(
    block: MakeBlock, num_blocks: int, in_channels: int, out_channels: int, stride: int
) -> nn.Sequential:
    """Return a row of blocks; only the first changes channels and size."""
    first = block(in_channels, out_channels, stride)
    rest = (block(out_channels, out_channels, 1) for _ in range(1, num_blocks))
    return nn.Sequential(first, *rest)
