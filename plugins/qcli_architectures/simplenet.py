"""SimpleNet: three convolutions without pooling, and two linear layers with a sigmoid between.

Source: the code of Yang et al., Quantization Networks, CVPR 2019, arXiv:1911.09464, for small
    images: https://github.com/haoyz/quantization-networks-cifar10
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import (
    LAYER_NORM_RELU_POOL,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.image_shape import ImageShape, check_image_size


def build_simplenet(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return SimpleNet, 32-64-128-1024; the sigmoid stays whichever activation is chosen.

    Raises:
        UsageError: The images are smaller than 13 x 13.
    """
    check_image_size("simplenet", image_shape, smallest=13)
    hidden = [
        _make_convolution(1, image_shape[0], 32, {}),
        _make_convolution(2, 32, 64, {}),
        _make_convolution(3, 64, 128, {"avgpool": nn.AdaptiveAvgPool2d(1)}),
        HiddenLayer(
            "fc1",
            "4",
            nn.Linear(128, 1024),
            before={"flatten": nn.Flatten()},
            after={"sigmoid": nn.Sigmoid()},
        ),
    ]
    orders = order_parts(block_order, LAYER_NORM_RELU_POOL, last=("layer", "after"))
    return chain_layers(
        {
            **arrange_hidden(hidden, activation, orders),
            "fc2": nn.Linear(1024, num_classes),
        }
    )


def _make_convolution(
    number: int, in_channels: int, out_channels: int, after: dict[str, nn.Module]
) -> HiddenLayer:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=5)
    norm = nn.BatchNorm2d(out_channels)
    return HiddenLayer(f"conv{number}", str(number), convolution, norm, after=after)
