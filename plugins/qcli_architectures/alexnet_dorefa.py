"""AlexNet as DoReFa-Net quantizes it: three convolutions in two groups, no norm behind the first.

Source: Zhou et al., DoReFa-Net, 2016, arXiv:1606.06160; its code:
    https://github.com/tensorpack/tensorpack, examples/DoReFa-Net
Differs: the layers count from 1 and are called conv1 to conv5 and fc6 to fc8; they are conv0 to
    conv4, fc0, fc1 and fct there.
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import (
    LAYER_NORM_POOL,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.image_shape import ImageShape, check_image_size, count_places
from qcli_architectures.kaiming import initialize_fan_in

_EPSILON = 1e-4


def build_alexnet_dorefa(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return DoReFa-Net's AlexNet.

    With the norms last, each pooling stands between a norm and the activation.

    Raises:
        UsageError: Its strides leave nothing of an image of fewer than 44 pixels.
    """
    check_image_size("alexnet_dorefa", image_shape, smallest=44)
    height, width = (count_places(length, 12, stride=4) for length in image_shape[1:])
    halves = ((height + 1) // 2, (width + 1) // 2)
    quarters = ((halves[0] + 1) // 2, (halves[1] + 1) // 2)
    area = count_places(quarters[0], 3, stride=2) * count_places(quarters[1], 3, stride=2)
    hidden = [
        HiddenLayer("conv1", "1", nn.Conv2d(image_shape[0], 96, kernel_size=12, stride=4)),
        _make_convolution(2, 96, 256, 5, groups=2, pool=_pool_same(height, width)),
        _make_convolution(3, 256, 384, 3, pool=_pool_same(*halves)),
        _make_convolution(4, 384, 384, 3, groups=2),
        _make_convolution(5, 384, 256, 3, groups=2, pool=nn.MaxPool2d(3, stride=2)),
        _make_linear(6, nn.Linear(256 * area, 4096), {"flatten": nn.Flatten()}),
        _make_linear(7, nn.Linear(4096, 4096, bias=False), {}),
    ]
    network = chain_layers(
        {
            **arrange_hidden(hidden, activation, order_parts(block_order, LAYER_NORM_POOL)),
            "fc8": nn.Linear(4096, num_classes),
        }
    )
    initialize_fan_in(network)
    return network


def _make_convolution(
    number: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    groups: int = 1,
    pool: nn.Module | None = None,
) -> HiddenLayer:
    """Return a convolution that keeps height and width."""
    layer = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )
    norm = nn.BatchNorm2d(out_channels, eps=_EPSILON)
    after = {f"pool{number}": pool} if pool else {}
    return HiddenLayer(f"conv{number}", str(number), layer, norm, after=after)


def _make_linear(number: int, layer: nn.Linear, before: dict[str, nn.Module]) -> HiddenLayer:
    norm = nn.BatchNorm1d(layer.out_features, eps=_EPSILON)
    return HiddenLayer(f"fc{number}", str(number), layer, norm, before=before)


def _pool_same(height: int, width: int) -> nn.Module:
    """Return a pooling 3 x 3 of stride 2, padded as TensorFlow's SAME: sides are halved upwards.

    An odd side has a border at both ends, an even one at its far end alone.
    """
    return nn.MaxPool2d(3, stride=2, padding=(height % 2, width % 2), ceil_mode=True)
