"""AlexNet as XNOR-Net binarizes it: norms come before the inner layers, every layer has a bias.

Source: Rastegari et al., XNOR-Net, ECCV 2016, arXiv:1603.05279; its code for Torch:
    https://github.com/allenai/XNOR-Net; for PyTorch:
    https://github.com/jiecaoyu/XNOR-Net-PyTorch
Differs: the dropout before `fc7` in the form for PyTorch acts before its input is binarized.
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.alexnet import map_size
from qcli_architectures.block_order import NORM_FIRST
from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import HiddenLayer, Orders, arrange_hidden
from qcli_architectures.image_shape import ImageShape, check_image_size
from qcli_architectures.kaiming import initialize_fan_in

TORCH7 = "torch7"
PYTORCH = "pytorch"

_POOLED = (1, 2, 5)
# Only the form for PyTorch has activations behind the inner layers.
_ORDERS = {
    TORCH7: Orders(
        first=("layer", "norm", "relu", "after"),
        inner=("leading", "layer", "after"),
        last=("leading", "layer", "norm", "relu"),
    ),
    PYTORCH: Orders(
        first=("layer", "norm", "relu", "after"),
        inner=("leading", "layer", "relu", "after"),
        last=("leading", "layer", "relu", "norm", "after"),
    ),
}
_FIRST_EPSILON = {TORCH7: 1e-5, PYTORCH: 1e-4}
_FLAT_EPSILON = 1e-4
_LAST_EPSILON = 1e-3


def build_alexnet_xnor(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = NORM_FIRST,
    form: str = TORCH7,
) -> nn.Module:
    """Return XNOR-Net's AlexNet.

    Args:
        num_classes: Scores for each image.
        image_shape: (C, H, W); the fully connected layers cover the whole map, 6 x 6 for images of
            224 x 224 in the form for Torch and of 227 x 227 in that for PyTorch.
        activation: A name of `ACTIVATIONS`.
        block_order: `norm_first`, for recipes that require it.
        form: "torch7" or "pytorch".

    Raises:
        UsageError: Its strides leave nothing of an image of fewer than 63 or 67 pixels.
        ValueError: The block order is another.
    """
    if block_order != NORM_FIRST:
        raise ValueError(f'found "block_order": "{block_order}", allowed: {NORM_FIRST}')
    padding = 2 if form == TORCH7 else 0
    check_image_size("alexnet_xnor", image_shape, smallest=67 - 2 * padding)
    connect = _connect_torch7 if form == TORCH7 else _connect_pytorch
    hidden = [
        *_make_convolutions(image_shape[0], form, padding),
        *connect(*map_size(image_shape, padding)),
    ]
    flatten = {"flatten": nn.Flatten()} if form == TORCH7 else {}
    network = chain_layers(
        {
            **arrange_hidden(hidden, activation, _ORDERS[form]),
            **flatten,
            "fc8": nn.Linear(4096, num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def _make_convolutions(channels: int, form: str, padding: int) -> list[HiddenLayer]:
    layers = [
        nn.Conv2d(channels, 96, kernel_size=11, stride=4, padding=padding),
        nn.Conv2d(96, 256, kernel_size=5, padding=2),
        nn.Conv2d(256, 384, kernel_size=3, padding=1),
        nn.Conv2d(384, 384, kernel_size=3, padding=1),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
    ]
    norms = {1: nn.BatchNorm2d(96, eps=_FIRST_EPSILON[form])}
    after: dict[int, dict[str, nn.Module]] = {
        number: {f"pool{number}": nn.MaxPool2d(3, stride=2)} for number in _POOLED
    }
    if form == PYTORCH:
        after[5] |= {"flatten": nn.Flatten()}
    return [
        HiddenLayer(
            f"conv{number}", str(number), layer, norms.get(number), after=after.get(number, {})
        )
        for number, layer in enumerate(layers, 1)
    ]


def _connect_torch7(height: int, width: int) -> list[HiddenLayer]:
    """Return the hidden fully connected layers, which are convolutions."""
    return [
        HiddenLayer("fc6", "6", nn.Conv2d(256, 4096, kernel_size=(height, width))),
        HiddenLayer(
            "fc7",
            "7",
            nn.Conv2d(4096, 4096, kernel_size=1),
            nn.BatchNorm2d(4096, eps=_LAST_EPSILON),
        ),
    ]


def _connect_pytorch(height: int, width: int) -> list[HiddenLayer]:
    """Return the hidden fully connected layers; the first norm sees each value of the map."""
    features = 256 * height * width
    return [
        HiddenLayer(
            "fc6",
            "6",
            nn.Linear(features, 4096),
            leading=nn.BatchNorm1d(features, eps=_FLAT_EPSILON),
        ),
        HiddenLayer(
            "fc7",
            "7",
            nn.Linear(4096, 4096),
            nn.BatchNorm1d(4096, eps=_LAST_EPSILON),
            before={"dropout7": nn.Dropout(0.5)},
            after={"dropout8": nn.Dropout(0.5)},
        ),
    ]
