"""Three forms of LeNet-5: two convolutions with pooling, then linear layers.

Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proceedings of the
    IEEE, 1998; the wide form: Li et al., Ternary Weight Networks, 2016, arXiv:1605.04711; Caffe's
    form: Jia et al., Caffe, 2014, arXiv:1408.5093
Differs: every form has max pooling, an activation after each hidden layer, and PyTorch's default
    initialization.
"""

from __future__ import annotations

from torch import nn

from qcli_architectures.activation import make_activation
from qcli_architectures.block_order import NORM_FIRST, make_leading_norm, require_norms
from qcli_architectures.chain import chain_layers
from qcli_architectures.image_shape import ImageShape, check_image_size


def build_lenet5(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    batch_norm: bool = True,
) -> nn.Module:
    """Return the wide LeNet-5, 32-64-512; batch normalization replaces the bias of a convolution.

    Raises:
        UsageError: The images are smaller than 16 x 16.
        ValueError: Without batch normalization there are no norms to put first.
    """
    require_norms(block_order, batch_norm, 'leave out "batch_norm": false')
    norm_behind_fc1 = "bn4" if block_order == NORM_FIRST else "bn3"
    area = _pooled_area("lenet5", image_shape)
    return chain_layers(
        {
            **_make_convolutions(image_shape[0], 32, 64, activation, block_order, batch_norm),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(64 * area, 512),
            norm_behind_fc1: nn.BatchNorm1d(512) if batch_norm else None,
            "relu3": make_activation(activation),
            "fc2": nn.Linear(512, num_classes),
        }
    )


def build_lenet5_caffe(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
    batch_norm: bool = False,
) -> nn.Module:
    """Return Caffe's LeNet-5, 20-50-500; only its convolutions can have batch normalization.

    Raises:
        UsageError: The images are smaller than 16 x 16.
        ValueError: Without batch normalization there are no norms to put first.
    """
    require_norms(block_order, batch_norm, 'add "batch_norm": true')
    area = _pooled_area("lenet5_caffe", image_shape)
    return chain_layers(
        {
            **_make_convolutions(image_shape[0], 20, 50, activation, block_order, batch_norm),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(50 * area, 500),
            "relu3": make_activation(activation),
            "fc2": nn.Linear(500, num_classes),
        }
    )


def build_lenet5_classic(
    num_classes: int,
    image_shape: ImageShape,
    *,
    activation: str = "relu",
    block_order: str = "norm_last",
) -> nn.Module:
    """Return the classic LeNet-5, 6-16-120-84; images below 32 pixels get a border of 2.

    Raises:
        UsageError: The images are smaller than 12 x 12.
        ValueError: It has no norms to put first.
    """
    require_norms(block_order, batch_norm=False, advice="take lenet5, which has them")
    padding = 2 if min(image_shape[1:]) < 32 else 0
    area = _pooled_area("lenet5_classic", image_shape, padding)
    return chain_layers(
        {
            **_make_convolutions(image_shape[0], 6, 16, activation, block_order, False, padding),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(16 * area, 120),
            "relu3": make_activation(activation),
            "fc2": nn.Linear(120, 84),
            "relu4": make_activation(activation),
            "fc3": nn.Linear(84, num_classes),
        }
    )


def _make_convolutions(
    in_channels: int,
    width1: int,
    width2: int,
    activation: str,
    block_order: str,
    batch_norm: bool,
    padding: int = 0,
) -> dict[str, nn.Module | None]:
    """Return both; with the norms first, the one before the linear layer sees channels too."""
    bias = not batch_norm
    first = {
        "conv1": nn.Conv2d(in_channels, width1, kernel_size=5, padding=padding, bias=bias),
        "bn1": nn.BatchNorm2d(width1) if batch_norm else None,
        "relu1": make_activation(activation),
        "pool1": nn.MaxPool2d(2),
    }
    second = {
        "conv2": nn.Conv2d(width1, width2, kernel_size=5, bias=bias),
        "bn2": nn.BatchNorm2d(width2) if batch_norm else None,
        "relu2": make_activation(activation),
        "pool2": nn.MaxPool2d(2),
    }
    if block_order == NORM_FIRST:
        del second["bn2"]
        second = {"bn2": make_leading_norm(width1), **second, "bn3": make_leading_norm(width2)}
    return {**first, **second}


def _pooled_area(network: str, image_shape: ImageShape, padding: int = 0) -> int:
    """Return the pixels that are left after the two convolutions and poolings."""
    check_image_size(network, image_shape, smallest=16 - 2 * padding)
    height, width = (((length + 2 * padding - 4) // 2 - 4) // 2 for length in image_shape[1:])
    return height * width
