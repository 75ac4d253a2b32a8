"""AlexNet with norms and without groups, as HWGQ and LQ-Nets quantize it.

Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, NeurIPS
    2012; in the form of Cai et al., HWGQ, CVPR 2017, arXiv:1702.00953, and of Zhang et al.,
    LQ-Nets, ECCV 2018, arXiv:1807.10029
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import (
    LAYER_POOL_NORM,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.hwgq_form import make_form_norm, make_fully_connected
from qcli_architectures.image_shape import ImageShape, check_image_size, count_places

_POOLED = (1, 2, 5)


def build_alexnet(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    form: str = "lqnets",
) -> nn.Module:
    """Return AlexNet; `fc6` covers the whole map, 6 x 6 for images of 227 x 227.

    With the norms last, each pooling stands between a convolution and its norm.

    Raises:
        UsageError: Its strides leave nothing of an image of fewer than 67 pixels.
    """
    check_image_size("alexnet", image_shape, smallest=67)
    fc6 = make_fully_connected(form, 256, 4096, map_size(image_shape))
    hidden = [
        *_make_convolutions(image_shape[0], form),
        HiddenLayer("fc6", "6", fc6, make_form_norm(form, 4096, fully_connected=True)),
        HiddenLayer(
            "fc7",
            "7",
            make_fully_connected(form, 4096, 4096),
            make_form_norm(form, 4096, fully_connected=True),
        ),
    ]
    network = chain_layers(
        {
            **arrange_hidden(hidden, activation, order_parts(block_order, LAYER_POOL_NORM)),
            "flatten": nn.Flatten(),
            "fc8": nn.Linear(4096, num_classes),
        }
    )
    _initialize(network)
    return network


def map_size(image_shape: ImageShape, padding: int = 0) -> tuple[int, int]:
    """Return height and width of what the first convolution and three poolings leave.

    Args:
        image_shape: (C, H, W).
        padding: Of the first convolution, in pixels.
    """
    _, *lengths = image_shape
    height, width = (count_places(length, 11, stride=4, padding=padding) for length in lengths)
    for _ in _POOLED:
        height, width = (count_places(length, 3, stride=2) for length in (height, width))
    return height, width


def _make_convolutions(channels: int, form: str) -> list[HiddenLayer]:
    layers = [
        nn.Conv2d(channels, 96, kernel_size=11, stride=4, bias=False),
        nn.Conv2d(96, 256, kernel_size=5, padding=2, bias=False),
        nn.Conv2d(256, 384, kernel_size=3, padding=1, bias=False),
        nn.Conv2d(384, 384, kernel_size=3, padding=1, bias=False),
        nn.Conv2d(384, 256, kernel_size=3, padding=1, bias=False),
    ]
    return [
        HiddenLayer(
            f"conv{number}",
            str(number),
            layer,
            make_form_norm(form, layer.out_channels),
            after={f"pool{number}": nn.MaxPool2d(3, stride=2)} if number in _POOLED else {},
        )
        for number, layer in enumerate(layers, 1)
    ]


def _initialize(network: nn.Module) -> None:
    """Draw normal weights, of deviation 0.005 in the hidden fully connected layers, else 0.01."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.005 if name in ("fc6", "fc7") else 0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
