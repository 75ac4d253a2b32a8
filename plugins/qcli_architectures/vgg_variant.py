"""VGG-Variant: VGG-16 with one 7x7 convolution in place of its first two stages.

Source: Cai et al., HWGQ, CVPR 2017, arXiv:1702.00953; Zhang et al., LQ-Nets, ECCV 2018,
    arXiv:1807.10029
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import (
    LAYER_POOL_NORM,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.hwgq_form import make_form_norm, make_fully_connected
from qcli_architectures.image_shape import ImageShape, check_image_size, count_places
from qcli_architectures.kaiming import initialize_fan_in
from qcli_architectures.residual_block import conv3x3


def build_vgg_variant(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    form: str = "lqnets",
) -> nn.Module:
    """Return VGG-Variant; `fc5` covers the whole map, 7 x 7 for images of 224 x 224.

    The first layer has two activations, one before its pooling and one behind its norm.

    Raises:
        UsageError: Five halvings leave nothing of an image of fewer than 31 pixels.
    """
    check_image_size("vgg_variant", image_shape, smallest=31)
    hidden = [
        _make_first(form, image_shape[0], activation),
        *_make_stage(form, 2, 96, 256),
        *_make_stage(form, 3, 256, 512),
        *_make_stage(form, 4, 512, 512),
        _connect_fully(5, make_fully_connected(form, 512, 4096, _map_size(image_shape)), form),
        _connect_fully(6, make_fully_connected(form, 4096, 4096), form),
    ]
    network = chain_layers(
        {
            **arrange_hidden(hidden, activation, order_parts(block_order, LAYER_POOL_NORM)),
            "flatten": nn.Flatten(),
            "fc7": nn.Linear(4096, num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def _make_first(form: str, channels: int, activation: str) -> HiddenLayer:
    layer = nn.Conv2d(channels, 96, kernel_size=7, stride=2, padding=3, bias=False)
    after = {"relu_conv1": make_activation(activation), "pool1": nn.MaxPool2d(2)}
    return HiddenLayer("conv1", "1", layer, make_form_norm(form, 96), after=after)


def _make_stage(form: str, stage: int, in_channels: int, channels: int) -> list[HiddenLayer]:
    """Return three convolutions; the pooling is the third's."""
    return [
        HiddenLayer(
            f"conv{stage}_{number}",
            f"{stage}_{number}",
            conv3x3(in_channels if number == 1 else channels, channels),
            make_form_norm(form, channels),
            after={f"pool{stage}": nn.MaxPool2d(2)} if number == 3 else {},
        )
        for number in (1, 2, 3)
    ]


def _connect_fully(number: int, layer: nn.Conv2d, form: str) -> HiddenLayer:
    norm = make_form_norm(form, layer.out_channels, fully_connected=True)
    return HiddenLayer(f"fc{number}", str(number), layer, norm)


def _map_size(image_shape: ImageShape) -> tuple[int, int]:
    """Return height and width of what is left after the convolution of stride 2 and 4 poolings."""
    _, *lengths = image_shape
    height, width = (count_places(length, 7, stride=2, padding=3) // 16 for length in lengths)
    return height, width
