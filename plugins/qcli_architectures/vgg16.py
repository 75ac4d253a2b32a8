"""VGG-16: thirteen convolutions, and the linear layers of ImageNet or of small images.

The layers have torchvision's names. With the imagenet head, the default activation and block order,
parameters, their initialization, and outputs are those of its vgg16_bn bit for bit, without
`batch_norm` those of its vgg16.

Source: Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, arXiv:1409.1556; the
    form for small images: https://github.com/kuangliu/pytorch-cifar
Differs: networks for small images start as torchvision's does, not from PyTorch's defaults; their
    wide head has dropout where torchvision's has it.
"""

from __future__ import annotations

from itertools import pairwise

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
from qcli_architectures.kaiming import initialize_fan_out
from qcli_architectures.stem import SMALL_IMAGE_HEIGHT

_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_POOLED = (2, 4, 7, 10, 13)
# The imagenet head sees maps of this height and width, whatever the images.
_SIDE = 7
_HEAD_WIDTHS = {"cifar": None, "cifar_wide": 512, "imagenet": 4096}


def build_vgg16(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    head: str = "auto",
    batch_norm: bool = True,
    conv_bias: bool = True,
) -> nn.Module:
    """Return VGG-16.

    Args:
        num_classes: Scores for each image.
        image_shape: (C, H, W).
        activation: A name of `ACTIVATIONS`.
        block_order: `norm_last` or `norm_first`, which needs norms.
        head: "cifar" is the last layer alone; "cifar_wide" has two hidden layers of 512 before it,
            "imagenet" two of 4096; "auto" is cifar for images of at most 64 pixels in height, else
            imagenet.
        batch_norm: Whether each convolution has a norm.
        conv_bias: Whether each convolution has a bias.

    Raises:
        UsageError: Five poolings leave nothing of an image of fewer than 32 pixels.
        ValueError: Without batch normalization there are no norms to put first.
    """
    check_image_size("vgg16", image_shape, smallest=32)
    require_norms(block_order, batch_norm, 'leave out "batch_norm": false')
    if head == "auto":
        head = "cifar" if image_shape[1] <= SMALL_IMAGE_HEIGHT else "imagenet"
    features = _make_features(image_shape[0], batch_norm, conv_bias)
    if head == "imagenet":
        features[-1].after["avgpool"] = nn.AdaptiveAvgPool2d(_SIDE)
    classifier, width = _make_head(_HEAD_WIDTHS[head], _count_features(head, image_shape))
    orders = order_parts(block_order, LAYER_NORM_RELU_POOL)
    flatten = {} if classifier else {"flatten": nn.Flatten()}
    network = chain_groups(
        {
            **arrange_hidden([*features, *classifier], activation, orders),
            **flatten,
            "classifier.6": nn.Linear(width, num_classes),
        }
    )
    _initialize(network)
    return network


def _make_features(channels: int, batch_norm: bool, bias: bool) -> list[HiddenLayer]:
    """Return the convolutions; their names count the parts of torchvision's network."""
    features = []
    position = 0
    for number, (in_channels, out_channels) in enumerate(pairwise((channels, *_WIDTHS)), 1):
        pool: dict[str, nn.Module] = {}
        if number in _POOLED:
            pool = {f"features.pool{number}": nn.MaxPool2d(2)}
        features.append(
            HiddenLayer(
                f"features.{position}",
                str(number),
                nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias),
                nn.BatchNorm2d(out_channels) if batch_norm else None,
                norm_name=str(position + 1),
                after=pool,
            )
        )
        position += 2 + batch_norm + len(pool)
    return features


def _make_head(width: int | None, in_features: int) -> tuple[list[HiddenLayer], int]:
    """Return the hidden linear layers, and what the last layer receives."""
    if width is None:
        return [], in_features
    first = HiddenLayer(
        "classifier.0",
        "14",
        nn.Linear(in_features, width),
        before={"classifier.flatten": nn.Flatten()},
        after={"classifier.dropout14": nn.Dropout(0.5)},
    )
    second = HiddenLayer(
        "classifier.3",
        "15",
        nn.Linear(width, width),
        after={"classifier.dropout15": nn.Dropout(0.5)},
    )
    return [first, second], width


def _count_features(head: str, image_shape: ImageShape) -> int:
    height, width = (
        _SIDE if head == "imagenet" else length // 2 ** len(_POOLED) for length in image_shape[1:]
    )
    return _WIDTHS[-1] * height * width


def _initialize(network: nn.Module) -> None:
    """Start as torchvision does."""
    initialize_fan_out(network)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
