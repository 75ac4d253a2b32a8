"""What comes before the blocks of the ImageNet ResNets, which small images need smaller.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385,
    table 1
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.image_shape import ImageShape
from qcli_architectures.residual_block import conv3x3

# The stem "auto" keeps the resolution of images up to this height.
SMALL_IMAGE_HEIGHT = 64


def make_stem(stem: str, image_shape: ImageShape, activation: str) -> dict[str, nn.Module]:
    """Return the layers that make 64 channels of an image.

    Args:
        stem: "imagenet", "cifar", or "auto", which chooses by the height of the images.
        image_shape: (C, H, W).
        activation: A name of `ACTIVATIONS`.
    """
    channels, height, _ = image_shape
    if stem == "cifar" or (stem == "auto" and height <= SMALL_IMAGE_HEIGHT):
        return {
            "conv1": conv3x3(channels, 64),
            "bn1": nn.BatchNorm2d(64),
            "relu": make_activation(activation),
        }
    return {
        "conv1": nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(64),
        "relu": make_activation(activation),
        "maxpool": nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    }
