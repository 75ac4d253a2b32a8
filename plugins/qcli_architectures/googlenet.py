"""GoogLeNet, which is Inception-v1, without auxiliary heads; torchvision's weights load into it.

The branch that the paper calls 5x5 is 3x3 in torchvision, which also pools 2x2 instead of 3x3
before the last two blocks. With the default options outputs are torchvision's bit for bit.

Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, arXiv:1409.4842; without norms
    in Caffe's form: Jia et al., Caffe, 2014, arXiv:1408.5093
Differs: no local response normalization.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from qcli_architectures.block_order import NORM_LAST, require_norms
from qcli_architectures.chain import chain_layers
from qcli_architectures.convolution_unit import make_unit
from qcli_architectures.image_shape import ImageShape, check_image_size
from qcli_architectures.inception_block import Inception, MakeUnit, Widths
from qcli_architectures.norm_first_block import make_end

_WIDTHS = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
_KERNELS = {"3x3": 3, "5x5": 5}
_LAST_POOL = {"3x3": 2, "5x5": 3}
_SMALLEST_IMAGE = {"3x3": 17, "5x5": 31}
# torchvision's, from the TensorFlow models it was ported from.
_EPSILON = 1e-3


def build_googlenet(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    branch: str = "3x3",
    batch_norm: bool = True,
) -> nn.Module:
    """Return GoogLeNet, initialized as in torchvision, or without norms as in Caffe.

    Raises:
        UsageError: The images are smaller than 17 x 17, or with 5x5 than 31 x 31.
        ValueError: Without batch normalization there are no norms to put first.
    """
    check_image_size("googlenet", image_shape, smallest=_SMALLEST_IMAGE[branch])
    network = _build(num_classes, image_shape, activation, block_order, branch, batch_norm)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _INITIALIZE[batch_norm](layer)
    return network


def build_inception_v1(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    branch: str = "3x3",
    batch_norm: bool = True,
) -> nn.Module:
    """Return GoogLeNet with N2D2's initialization: uniform, with variance 1 / fan-out.

    Raises:
        UsageError: The images are smaller than 17 x 17, or with 5x5 than 31 x 31.
        ValueError: Without batch normalization there are no norms to put first.
    """
    check_image_size("inception_v1", image_shape, smallest=_SMALLEST_IMAGE[branch])
    network = _build(num_classes, image_shape, activation, block_order, branch, batch_norm)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="linear")
    return network


def _build(
    num_classes: int,
    image_shape: ImageShape,
    activation: str,
    block_order: str,
    branch: str,
    batch_norm: bool,
) -> nn.Module:
    require_norms(block_order, batch_norm, 'leave out "batch_norm": false')
    stem = partial(_make_unit, activation, NORM_LAST, batch_norm)
    unit = partial(_make_unit, activation, block_order, batch_norm)
    return chain_layers(
        {
            "conv1": stem(image_shape[0], 64, 7, 2),
            "maxpool1": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            "conv2": unit(64, 64, 1),
            "conv3": unit(64, 192, 3),
            "maxpool2": nn.MaxPool2d(3, stride=2, ceil_mode=True),
            **_make_blocks(_KERNELS[branch], _LAST_POOL[branch], unit),
            **make_end(block_order, _WIDTHS["5b"].total, activation),
            "avgpool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "dropout": nn.Dropout(0.2),
            "fc": nn.Linear(_WIDTHS["5b"].total, num_classes),
        }
    )


def _make_unit(
    activation: str,
    block_order: str,
    batch_norm: bool,
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
) -> nn.Module:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=not batch_norm
    )
    norm = nn.BatchNorm2d(out_channels, eps=_EPSILON) if batch_norm else None
    return make_unit(convolution, norm, activation, block_order)


def _make_blocks(kernel: int, last_pool: int, unit: MakeUnit) -> dict[str, nn.Module]:
    """Return the nine blocks, and the poolings between them."""
    layers: dict[str, nn.Module] = {}
    in_channels = 192
    for name, widths in _WIDTHS.items():
        layers[f"inception{name}"] = Inception(in_channels, widths, kernel, unit)
        in_channels = widths.total
        if name == "3b":
            layers["maxpool3"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        if name == "4e":
            layers["maxpool4"] = nn.MaxPool2d(last_pool, stride=2, ceil_mode=True)
    return layers


def _initialize_as_torchvision(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.trunc_normal_(layer.weight, std=0.01)


def _initialize_as_caffe(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw uniform weights with variance 1 / fan-in; 0.2 keeps the first activations alive."""
    nn.init.kaiming_uniform_(layer.weight, mode="fan_in", nonlinearity="linear")
    if layer.bias is not None:
        nn.init.constant_(layer.bias, 0.2 if isinstance(layer, nn.Conv2d) else 0.0)


_INITIALIZE = {True: _initialize_as_torchvision, False: _initialize_as_caffe}
