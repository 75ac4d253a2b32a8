"""MobileNet-V2: blocks that widen, convolve each channel by itself, and narrow without activation.

With the default options names, parameters, their initialization, and outputs are torchvision's bit
for bit, except that every activation is a module of its own.

Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018,
    arXiv:1801.04381, table 2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from qcli_architectures.block_order import NORM_FIRST, NORM_LAST, make_leading_norm
from qcli_architectures.chain import chain_layers
from qcli_architectures.convolution_unit import make_unit
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.kaiming import initialize_fan_out
from qcli_architectures.mobilenet_v1 import make_depthwise
from qcli_architectures.norm_first_block import make_end
from qcli_architectures.residual_block import conv1x1, conv3x3

# Expansion, output channels, number of blocks, and stride of the first of them.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class Form:
    """What the options make of every block.

    Args:
        activation: A name of `ACTIVATIONS`.
        block_order: "norm_last" or "norm_first".
        keep_expansion: Whether a block that widens nothing has its first convolution.
    """

    activation: str
    block_order: str
    keep_expansion: bool

    def make_unit(self, convolution: nn.Conv2d) -> nn.Module:
        """Return the convolution with its norm and activation."""
        norm = nn.BatchNorm2d(convolution.out_channels)
        return make_unit(convolution, norm, self.activation, self.block_order, names=("0", "1"))


class InvertedResidual(nn.Module):
    """An expansion by a 1x1 convolution, a depthwise 3x3 one, and a linear 1x1 one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the depthwise convolution.
        expansion: Channels inside for each of the input; with 1 the first convolution is left out,
            unless the form keeps it.
        form: What the options say.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, form: Form
    ) -> None:
        super().__init__()
        inside = in_channels * expansion
        expands = expansion != 1 or form.keep_expansion
        units = [form.make_unit(conv1x1(in_channels, inside))] if expands else []
        units.append(form.make_unit(make_depthwise(inside, stride)))
        self.conv = _make_branch(units, conv1x1(inside, out_channels), form.block_order)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in_channels, H, W] to [B, out_channels, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self.adds_input else out


def build_mobilenet_v2(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu6",
    block_order: str = "norm_last",
    width: float = 1.0,
    keep_expansion: bool = False,
) -> nn.Module:
    """Return MobileNet-V2, all channels times `width`, rounded to multiples of 8.

    The classifier has 1280 inputs at widths below 1 too. `keep_expansion` keeps the 1x1 convolution
    of the first block, which widens nothing, as in the networks of GluonCV and N2D2.
    """
    stem, last = _scale(32, width), _scale(1280, max(1.0, width))
    form = Form(activation, block_order, keep_expansion)
    network = chain_layers(
        {
            "features": nn.Sequential(
                _make_stem(image_shape[0], stem, activation),
                *_make_blocks(stem, width, form),
                form.make_unit(conv1x1(_scale(320, width), last)),
            ),
            **make_end(block_order, last, activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "classifier": nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes)),
        }
    )
    initialize_fan_out(network)
    _initialize_classifier(network.get_submodule("classifier.1"))
    return network


def _make_stem(in_channels: int, out_channels: int, activation: str) -> nn.Module:
    convolution = conv3x3(in_channels, out_channels, stride=2)
    return Form(activation, NORM_LAST, keep_expansion=False).make_unit(convolution)


def _make_blocks(in_channels: int, width: float, form: Form) -> Iterator[nn.Module]:
    for expansion, channels, num_blocks, first_stride in _STAGES:
        out_channels = _scale(channels, width)
        for number in range(num_blocks):
            stride = first_stride if number == 0 else 1
            yield InvertedResidual(in_channels, out_channels, stride, expansion, form)
            in_channels = out_channels


def _make_branch(units: Sequence[nn.Module], linear: nn.Conv2d, block_order: str) -> nn.Module:
    """Return the units and the linear layer with its norm, each with its number as its name."""
    layer, norm = str(len(units)), str(len(units) + 1)
    named = {str(number): unit for number, unit in enumerate(units)}
    if block_order == NORM_FIRST:
        return chain_layers({**named, norm: make_leading_norm(linear.in_channels), layer: linear})
    return chain_layers({**named, layer: linear, norm: nn.BatchNorm2d(linear.out_channels)})


def _scale(channels: int, width: float) -> int:
    """Return the nearest multiple of 8 that is not more than a tenth below `channels * width`."""
    wanted = channels * width
    scaled = max(8, int(wanted + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * wanted else scaled


def _initialize_classifier(layer: nn.Module) -> None:
    nn.init.normal_(cast(Tensor, layer.weight), std=0.01)
    nn.init.zeros_(cast(Tensor, layer.bias))
