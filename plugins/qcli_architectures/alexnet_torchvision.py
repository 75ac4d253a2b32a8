"""AlexNet in torchvision's widths, with or without norms.

The layers have torchvision's names. Without norms, with the default activation, parameters, their
initialization, and outputs are those of its alexnet bit for bit.

Source: Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks, 2014,
    arXiv:1404.5997; https://pytorch.org/vision/stable/models/alexnet.html
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.block_order import require_norms
from qcli_architectures.chain import chain_groups
from qcli_architectures.hidden_layer import (
    LAYER_NORM_RELU_POOL,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.image_shape import ImageShape, check_image_size

# The linear layers see maps of this height and width, whatever the images.
_SIDE = 6


def build_alexnet_torchvision(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    batch_norm: bool = True,
    dropout: float = 0.5,
) -> nn.Module:
    """Return torchvision's AlexNet; norms replace the biases of all hidden layers.

    Raises:
        UsageError: Its strides leave nothing of an image of fewer than 63 pixels.
        ValueError: Without batch normalization there are no norms to put first.
    """
    check_image_size("alexnet_torchvision", image_shape, smallest=63)
    require_norms(block_order, batch_norm, 'leave out "batch_norm": false')
    hidden = [
        *_make_convolutions(image_shape[0], batch_norm),
        *_make_linear_layers(batch_norm, dropout),
    ]
    orders = order_parts(block_order, LAYER_NORM_RELU_POOL)
    return chain_groups(
        {
            **arrange_hidden(hidden, activation, orders),
            "classifier.6": nn.Linear(4096, num_classes),
        }
    )


def _make_convolutions(channels: int, batch_norm: bool) -> list[HiddenLayer]:
    bias = not batch_norm
    layers = {
        "0": nn.Conv2d(channels, 64, kernel_size=11, stride=4, padding=2, bias=bias),
        "3": nn.Conv2d(64, 192, kernel_size=5, padding=2, bias=bias),
        "6": nn.Conv2d(192, 384, kernel_size=3, padding=1, bias=bias),
        "8": nn.Conv2d(384, 256, kernel_size=3, padding=1, bias=bias),
        "10": nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=bias),
    }
    poolings: dict[int, dict[str, nn.Module]] = {
        1: {"features.pool1": nn.MaxPool2d(3, stride=2)},
        2: {"features.pool2": nn.MaxPool2d(3, stride=2)},
        5: {
            "features.pool5": nn.MaxPool2d(3, stride=2),
            "avgpool": nn.AdaptiveAvgPool2d(_SIDE),
        },
    }
    return [
        HiddenLayer(
            f"features.{place}",
            str(number),
            layer,
            nn.BatchNorm2d(layer.out_channels) if batch_norm else None,
            after=poolings.get(number, {}),
        )
        for number, (place, layer) in enumerate(layers.items(), 1)
    ]


def _make_linear_layers(batch_norm: bool, dropout: float) -> list[HiddenLayer]:
    first = HiddenLayer(
        "classifier.1",
        "6",
        nn.Linear(256 * _SIDE**2, 4096, bias=not batch_norm),
        nn.BatchNorm1d(4096) if batch_norm else None,
        before={
            "classifier.flatten": nn.Flatten(),
            "classifier.dropout6": nn.Dropout(dropout),
        },
    )
    second = HiddenLayer(
        "classifier.4",
        "7",
        nn.Linear(4096, 4096, bias=not batch_norm),
        nn.BatchNorm1d(4096) if batch_norm else None,
        before={"classifier.dropout7": nn.Dropout(dropout)},
    )
    return [first, second]
