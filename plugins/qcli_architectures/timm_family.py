"""Every network of timm, by its name there, without weights; timm is an extra to install.

Some of timm's networks call activations as functions, or ones that are no ReLU, such as GELU: these
have no output that recipes quantize. What layers receive can always be quantized.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

import qcli
from qcli_architectures.forward_check import check_forward
from qcli_architectures.image_shape import ImageShape, format_shape


def build_member(num_classes: int, image_shape: ImageShape, *, member: str) -> nn.Module:
    """Return timm's network `member`, as timm initializes it, for images of any channels.

    Raises:
        UsageError: timm is not installed, has no such network, or it cannot take such images.
    """
    timm = _import_timm(member)
    _check_member(member, timm.list_models())
    network: nn.Module = timm.create_model(
        member, pretrained=False, num_classes=num_classes, in_chans=image_shape[0]
    )
    _replace_identities(network)
    wanted = format_shape(timm.get_pretrained_cfg(member).input_size)
    advice = f"Choose other images: timm made the network for {wanted}"
    check_forward(network, f"timm:{member}", num_classes, image_shape, advice)
    return network


def _import_timm(member: str) -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise qcli.UsageError(
            f'timm:{member}: the package timm is not installed; run `pip install "qcli[timm]"`'
        ) from error


def _replace_identities(network: nn.Module) -> None:
    """Put dropouts of nothing in timm's placeholders: an identity is an activation here."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Identity:
                setattr(module, name, nn.Dropout(0.0))


def _check_member(member: str, known: list[str]) -> None:
    if member not in known:
        raise qcli.UsageError(
            f'timm: has no network "{member}"{qcli.suggest(member, known)}; all are listed by '
            '`python -c "import timm; print(*timm.list_models())"`'
        )
