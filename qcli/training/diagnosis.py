"""Say which layer a loss that is no longer finite came from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def find_first_non_finite(model: nn.Module, images: Tensor) -> str:
    """Pass a batch and return where the first value that is not finite appears, in words.

    Args:
        model: In the mode in which the loss was computed.
        images: The batch.
    """
    if not bool(torch.isfinite(images).all()):
        return "the images themselves are not finite"
    broken = [name for name, value in model.named_parameters() if not _finite(value)]
    found: list[str] = []
    # A module's hook runs after those of the modules inside it: the innermost comes first. A
    # quantized layer has its quantizers inside it, so leaves alone would miss its own overflow.
    hooks = [
        module.register_forward_hook(_recorder(found, name))
        for name, module in model.named_modules()
        if name
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if broken:
        return f"the parameter {broken[0]} is not finite ({len(broken)} parameters are not)"
    if found:
        return f"the output of {found[0]} is the first that is not finite"
    return "every layer is finite, the loss alone is not"


def _recorder(found: list[str], name: str) -> Any:
    def record(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not _finite(output):
            found.append(name)

    return record


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
