"""VGG-Small and VGG-7: six convolutions for small images, and one or two linear layers.

Source: VGG-Small: Cai et al., Deep Learning with Low Precision by Half-wave Gaussian Quantization,
    CVPR 2017, arXiv:1702.00953; in the form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029.
    VGG-7: Courbariaux et al., Binarized Neural Networks, NeurIPS 2016, arXiv:1602.02830; Li et al.,
    Ternary Weight Networks, 2016, arXiv:1605.04711
Differs: no norm stands behind the last layer of VGG-7, as one does in Binarized Neural Networks.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import (
    LAYER_POOL_NORM,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.image_shape import ImageShape, check_image_size
from qcli_architectures.kaiming import initialize_fan_in
from qcli_architectures.residual_block import conv3x3

_WIDTHS = (128, 128, 256, 256, 512, 512)


def build_vgg_small(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return VGG-Small.

    With the norms last, each pooling stands between a convolution and its norm.

    Raises:
        UsageError: Three poolings leave nothing of an image of fewer than 8 pixels.
    """
    check_image_size("vgg_small", image_shape, smallest=8)
    hidden = _make_convolutions(image_shape[0])
    network = chain_layers(
        {
            **arrange_hidden(hidden, activation, order_parts(block_order, LAYER_POOL_NORM)),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(_count_features(image_shape), num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def build_vgg7(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return VGG-7: the convolutions of VGG-Small, and two linear layers; nothing has a bias.

    Raises:
        UsageError: Three poolings leave nothing of an image of fewer than 8 pixels.
    """
    check_image_size("vgg7", image_shape, smallest=8)
    linear = HiddenLayer(
        "fc1",
        "7",
        nn.Linear(_count_features(image_shape), 1024, bias=False),
        nn.BatchNorm1d(1024),
        before={"flatten": nn.Flatten()},
    )
    hidden = [*_make_convolutions(image_shape[0]), linear]
    network = chain_layers(
        {
            **arrange_hidden(hidden, activation, order_parts(block_order, LAYER_POOL_NORM)),
            "fc2": nn.Linear(1024, num_classes, bias=False),
        }
    )
    initialize_fan_in(network)
    return network


def _make_convolutions(channels: int) -> list[HiddenLayer]:
    """Return the six convolutions; every second one has a pooling."""
    return [
        HiddenLayer(
            f"conv{number}",
            str(number),
            conv3x3(in_channels, out_channels),
            nn.BatchNorm2d(out_channels),
            after={} if number % 2 else {f"pool{number}": nn.MaxPool2d(2)},
        )
        for number, (in_channels, out_channels) in enumerate(pairwise((channels, *_WIDTHS)), 1)
    ]


def _count_features(image_shape: ImageShape) -> int:
    """Return the values that are left of an image after three poolings."""
    _, height, width = image_shape
    return _WIDTHS[-1] * (height // 8) * (width // 8)
