"""Whether a library's network takes the images at hand: libraries do not say it, a trial does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

import qcli
from qcli_architectures.image_shape import ImageShape, format_shape


def check_forward(
    network: nn.Module, label: str, num_classes: int, image_shape: ImageShape, advice: str
) -> None:
    """Run the network once on the meta device, which leaves it as it is.

    Args:
        network: In training mode, on any device.
        label: What the user typed to name it.
        num_classes: Of the scores that it has to give.
        image_shape: (C, H, W).
        advice: What to do where it cannot take such images.

    Raises:
        UsageError: It cannot take such images, or gives something else than scores.
    """
    try:
        scores = _call_on_meta(network, image_shape)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise qcli.UsageError(
            f"{label}: cannot take images of {format_shape(image_shape)} ({error}). {advice}"
        ) from error
    if not isinstance(scores, Tensor) or scores.shape != (2, num_classes):
        raise qcli.UsageError(
            f"{label}: gives no scores [B, {num_classes}] in training, but "
            f"{_describe(scores)}. Choose another network: run `qcli list architectures`"
        )


def _call_on_meta(network: nn.Module, image_shape: ImageShape) -> Any:
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    return functional_call(network, on_meta, torch.empty(2, *image_shape, device="meta"))


def _describe(found: Any) -> str:
    return f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
