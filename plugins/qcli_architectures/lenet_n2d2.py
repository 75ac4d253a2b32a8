"""The LeNet of N2D2: three convolutions with norms, two linear layers, no biases.

Source: the models of N2D2, https://github.com/CEA-LIST/N2D2; LeCun et al., Gradient-Based Learning
    Applied to Document Recognition, Proceedings of the IEEE, 1998
Differs: the second convolution sees every channel, not those of LeCun's table of connections, and
    the start is PyTorch's default initialization.
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.chain import chain_layers
from qcli_architectures.hidden_layer import (
    LAYER_NORM_RELU_POOL,
    HiddenLayer,
    arrange_hidden,
    order_parts,
)
from qcli_architectures.image_shape import ImageShape, check_image_size


def build_lenet_n2d2(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    dropout: float = 0.5,
) -> nn.Module:
    """Return N2D2's LeNet, 6-16-120-84; no activation stands between its linear layers.

    Raises:
        UsageError: The images are smaller than 32 x 32.
    """
    check_image_size("lenet_n2d2", image_shape, smallest=32)
    height, width = (((length - 4) // 2 - 4) // 2 - 4 for length in image_shape[1:])
    convolutions = [
        _make_convolution(1, image_shape[0], 6, {"pool1": nn.MaxPool2d(2)}),
        _make_convolution(2, 6, 16, {"pool2": nn.MaxPool2d(2)}),
        _make_convolution(3, 16, 120, {"dropout1": nn.Dropout(dropout)}),
    ]
    linear = HiddenLayer(
        "fc1",
        "4",
        nn.Linear(120 * height * width, 84, bias=False),
        before={"flatten": nn.Flatten()},
        after={"dropout2": nn.Dropout(dropout)},
    )
    orders = order_parts(block_order, LAYER_NORM_RELU_POOL, last=("layer", "after"))
    return chain_layers(
        {
            **arrange_hidden([*convolutions, linear], activation, orders),
            "fc2": nn.Linear(84, num_classes, bias=False),
        }
    )


def _make_convolution(
    number: int, in_channels: int, out_channels: int, after: dict[str, nn.Module]
) -> HiddenLayer:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=5, bias=False)
    norm = nn.BatchNorm2d(out_channels)
    return HiddenLayer(f"conv{number}", str(number), convolution, norm, after=after)
