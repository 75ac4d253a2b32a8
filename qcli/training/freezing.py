"""Keep parts of a network as they were: stages of a method that train less than everything."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from qcli.errors import UsageError


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Take parameters out of training.

    Args:
        model: The network.
        parts: "norm_affine": the factors and offsets of batch norms; they go on gathering
            statistics.

    Raises:
        UsageError: The network has nothing of the kind.
    """
    if "norm_affine" not in parts:
        return
    norms = [each for each in model.modules() if isinstance(each, _BatchNorm) and each.affine]
    if not norms:
        raise UsageError('"freeze": ["norm_affine"], but the network has no batch norm')
    for norm in norms:
        norm.requires_grad_(False)
