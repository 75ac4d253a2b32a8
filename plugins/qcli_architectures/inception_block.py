"""The block of GoogLeNet: four branches whose channels are put side by side.

Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv:1409.4842, figure 2b
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Called with in_channels, out_channels and the size of the kernel.
MakeUnit = Callable[[int, int, int], nn.Module]


class Widths(NamedTuple):
    """The channels that the convolutions of a block give out, as in the paper's table 1."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce5x5: int
    conv5x5: int
    pool: int

    @property
    def total(self) -> int:
        """The channels of the block's output."""
        return self.conv1x1 + self.conv3x3 + self.conv5x5 + self.pool


class Inception(nn.Module):
    """A 1x1 convolution, two larger ones behind 1x1 reductions, and one behind a pooling.

    Args:
        in_channels: Channels of the input.
        widths: Channels of the convolutions.
        kernel: Of the branch that the paper calls 5x5.
        unit: Makes a convolution with all that belongs to it.
    """

    def __init__(self, in_channels: int, widths: Widths, kernel: int, unit: MakeUnit) -> None:
        super().__init__()
        self.branch1 = unit(in_channels, widths.conv1x1, 1)
        self.branch2 = nn.Sequential(
            unit(in_channels, widths.reduce3x3, 1), unit(widths.reduce3x3, widths.conv3x3, 3)
        )
        self.branch3 = nn.Sequential(
            unit(in_channels, widths.reduce5x5, 1), unit(widths.reduce5x5, widths.conv5x5, kernel)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1), unit(in_channels, widths.pool, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, widths.total, H, W]."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)
