"""Show real data to the quantizers of inputs and outputs, before training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from qcli.errors import PlanError
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import quantizers


@torch.no_grad()
def calibrate(
    model: nn.Module, batches: Iterable[Tensor], fresh: Collection[Quantizer] | None = None
) -> None:
    """Let quantizers of inputs and outputs observe training batches.

    Each batch passes in train mode, so that norms use the batch; what norms keep is put back.
    All processes calibrate on the same batches, so that they start alike.

    Args:
        model: Quantized, on its device.
        batches: Normalized images [B, C, H, W].
        fresh: The quantizers that know no range yet; None: all.

    Raises:
        PlanError: An unsigned quantizer receives negative values: named by layer.
    """
    served = [
        (layer, slot, quantizer)
        for layer, slot, quantizer in quantizers(model)
        if slot != "weight" and (fresh is None or quantizer in fresh)
    ]
    if not served:
        return
    faults: dict[str, str] = {}
    hooks = [
        quantizer.register_forward_pre_hook(_observer(layer, slot, faults))
        for layer, slot, quantizer in served
    ]
    training = model.training
    try:
        with _kept_buffers(model):
            model.train()
            for images in batches:
                model(images)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    if faults:
        raise PlanError(list(faults.values()))


def _observer(layer: str, slot: str, faults: dict[str, str]) -> Callable[..., None]:
    def observe(quantizer: Any, args: tuple[Tensor, ...]) -> None:
        quantizer.observe(args[0].detach())
        if quantizer.rectifies or not quantizer.quantizes:
            return
        low = float(args[0].min())
        if low < 0 <= float(quantizer.codebook().min()):
            faults[f"{layer}.{slot}"] = (
                f"layer {layer} has negative values in its {slot} (min {low:.3g}), but the "
                f'quantizer is unsigned; set "signed": true where it has that option, '
                f'or "{slot}": null for this layer'
            )

    return observe


@contextmanager
def _kept_buffers(model: nn.Module) -> Any:
    """Put back, at the end, every buffer that belongs to no quantizer."""
    own = {
        id(buffer)
        for module in model.modules()
        if isinstance(module, Quantizer)
        for buffer in module.buffers()
    }
    kept = [(buffer, buffer.clone()) for buffer in model.buffers() if id(buffer) not in own]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)
