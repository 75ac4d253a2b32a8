"""Every classifier of torchvision, by its name there, without weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torchvision import models

import qcli
from qcli_architectures.image_shape import ImageShape, format_shape

# With auxiliary heads these return a tuple in training, and without `init_weights` they warn.
_PLAIN: dict[str, Any] = {"aux_logits": False, "init_weights": True}
_MEMBER_OPTIONS = {"googlenet": _PLAIN, "inception_v3": _PLAIN}


def build_member(num_classes: int, image_shape: ImageShape, *, member: str) -> nn.Module:
    """Return torchvision's network `member`, as torchvision initializes it.

    Raises:
        UsageError: torchvision has no such classifier, or it cannot take images of this shape.
    """
    _check_member(member)
    _check_channels(member, image_shape)
    options = _MEMBER_OPTIONS.get(member, {})
    network: nn.Module = models.get_model(member, weights=None, num_classes=num_classes, **options)
    _check_forward(network, member, image_shape)
    return network


def _check_member(member: str) -> None:
    known = models.list_models(module=models)
    if member not in known:
        raise qcli.UsageError(
            f'torchvision: has no classifier "{member}"{qcli.suggest(member, known)}; '
            "all are listed at https://pytorch.org/vision/stable/models.html#classification"
        )


def _check_channels(member: str, image_shape: ImageShape) -> None:
    if image_shape[0] != 3:
        raise qcli.UsageError(
            f"torchvision:{member}: images of {format_shape(image_shape)} do not have the 3 "
            "channels that torchvision's networks take. Choose color images, or another network: "
            "run `qcli list architectures`"
        )


def _check_forward(network: nn.Module, member: str, image_shape: ImageShape) -> None:
    """Run the network on the meta device: torchvision does not say which sizes a network takes."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    on_meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    images = torch.empty(2, *image_shape, device="meta")
    try:
        functional_call(network, on_meta, images)
    except (AssertionError, RuntimeError) as error:
        raise qcli.UsageError(
            f"torchvision:{member}: cannot take images of {format_shape(image_shape)} ({error}). "
            "Choose other images: torchvision made its networks for 3x224x224"
        ) from error
