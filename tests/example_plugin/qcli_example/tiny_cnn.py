"""A network of three layers for images of any shape."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def build_tiny_cnn(
    num_classes: int, image_shape: tuple[int, int, int], *, width: int = 8
) -> nn.Module:
    """Return the network; every activation is a module, so that recipes can quantize it.

    Args:
        num_classes: The outputs of the last layer.
        image_shape: (C, H, W); any height and width will do.
        width: The channels of the first convolution.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(image_shape[0], width, 3, stride=2, padding=1, bias=False),
            bn1=nn.BatchNorm2d(width),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(2 * width),
            relu2=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(2 * width, num_classes),
        )
    )
