"""VGG-Small: six convolutions and one linear layer for small images.

Source: Cai et al., Deep Learning with Low Precision by Half-wave Gaussian Quantization, CVPR 2017,
    arXiv:1702.00953; in the form of Zhang et al., LQ-Nets, ECCV 2018, arXiv:1807.10029
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, NORM_LAST, make_leading_norm
from qcli_architectures.chain import chain_layers
from qcli_architectures.image_shape import ImageShape, check_image_size
from qcli_architectures.kaiming import initialize_fan_in
from qcli_architectures.residual_block import conv3x3


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
    channels, height, width = image_shape
    network = chain_layers(
        {
            "conv1": conv3x3(channels, 128),
            "bn1": nn.BatchNorm2d(128),
            "relu1": make_activation(activation),
            **_CONVOLUTIONS[block_order](activation),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(512 * (height // 8) * (width // 8), num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def _make_norm_last(activation: str) -> dict[str, nn.Module]:
    return {
        "conv2": conv3x3(128, 128),
        "pool2": nn.MaxPool2d(2),
        "bn2": nn.BatchNorm2d(128),
        "relu2": make_activation(activation),
        "conv3": conv3x3(128, 256),
        "bn3": nn.BatchNorm2d(256),
        "relu3": make_activation(activation),
        "conv4": conv3x3(256, 256),
        "pool4": nn.MaxPool2d(2),
        "bn4": nn.BatchNorm2d(256),
        "relu4": make_activation(activation),
        "conv5": conv3x3(256, 512),
        "bn5": nn.BatchNorm2d(512),
        "relu5": make_activation(activation),
        "conv6": conv3x3(512, 512),
        "pool6": nn.MaxPool2d(2),
        "bn6": nn.BatchNorm2d(512),
        "relu6": make_activation(activation),
    }


def _make_norm_first(activation: str) -> dict[str, nn.Module]:
    """Return the same layers behind norms; what feeds the linear layer stays as it is."""
    return {
        "bn2": make_leading_norm(128),
        "conv2": conv3x3(128, 128),
        "relu2": make_activation(activation),
        "pool2": nn.MaxPool2d(2),
        "bn3": make_leading_norm(128),
        "conv3": conv3x3(128, 256),
        "relu3": make_activation(activation),
        "bn4": make_leading_norm(256),
        "conv4": conv3x3(256, 256),
        "relu4": make_activation(activation),
        "pool4": nn.MaxPool2d(2),
        "bn5": make_leading_norm(256),
        "conv5": conv3x3(256, 512),
        "relu5": make_activation(activation),
        "bn6": make_leading_norm(512),
        "conv6": conv3x3(512, 512),
        "pool6": nn.MaxPool2d(2),
        "bn7": nn.BatchNorm2d(512),
        "relu6": make_activation(activation),
    }


_CONVOLUTIONS = {NORM_LAST: _make_norm_last, NORM_FIRST: _make_norm_first}
