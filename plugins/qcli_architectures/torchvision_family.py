"""Every classifier of torchvision, by its name there, without weights."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision import models

import qcli
from qcli_architectures.forward_check import check_forward
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
    advice = "Choose other images: torchvision made its networks for 3x224x224"
    check_forward(network, f"torchvision:{member}", num_classes, image_shape, advice)
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
