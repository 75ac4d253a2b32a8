"""Cut the gradient to a norm: of what is trained, or of quantized weights before the chain rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from qcli.errors import UsageError
from qcli.quantization.ops import all_reduce_sum
from qcli.quantization.quantizer import Quantizer
from qcli.quantization.surgery import latents


class Clipping:
    """Cuts the L2 norm of the gradient of all parameters together.

    At "quantized" the norm of a quantized weight is that of the gradient which reaches the
    quantizer, as in Quantization Networks' two programs. The chain rule is linear in it, so that
    cutting there and cutting every gradient by the same factor afterwards are one.

    Args:
        accelerator: Devices and processes.
        network: The bare network.
        limit: The norm.
        at: "latent" or "quantized".

    Raises:
        UsageError: No weight is quantized at which to clip.
    """

    def __init__(self, accelerator: Accelerator, network: nn.Module, limit: float, at: str) -> None:
        self.accelerator = accelerator
        self.limit = limit
        self.parameters = [each for each in network.parameters() if each.requires_grad]
        self.arrived: dict[Quantizer, Tensor] = {}
        self.inner: set[int] = set()
        for quantizer, latent in latents(network).items() if at == "quantized" else ():
            quantizer.register_forward_hook(self._listen)
            self.inner |= {id(each) for each in (latent, *quantizer.parameters())}
        if at == "quantized" and not self.inner:
            raise UsageError('"clip_gradient_at": "quantized", but no weight is quantized')

    def clip(self) -> None:
        """Cut the gradients at hand; what arrived at quantizers is forgotten."""
        if not self.inner:
            self.accelerator.clip_grad_norm_(self.parameters, self.limit)
            return
        self.accelerator.unscale_gradients()
        plain = [each.grad for each in self.parameters if id(each) not in self.inner]
        norm = _norm([*self._arrived(), *(each for each in plain if each is not None)])
        factor = (self.limit / (norm + 1e-6)).clamp(max=1.0)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        self.arrived.clear()

    def _arrived(self) -> list[Tensor]:
        """Return the gradients of quantized weights, as the mean over processes."""
        scaler: Any = self.accelerator.scaler
        scale = (scaler.get_scale() if scaler else 1.0) * self.accelerator.num_processes
        return [all_reduce_sum(gradient) / scale for gradient in self.arrived.values()]

    def _listen(self, quantizer: Any, _: tuple[Tensor, ...], quantized: Tensor) -> None:
        def add(gradient: Tensor) -> None:
            before = self.arrived.get(quantizer)
            wide = gradient.detach().float()
            self.arrived[quantizer] = wide.clone() if before is None else before + wide

        if quantized.requires_grad:
            hooked: Any = quantized
            hooked.register_hook(add)


def _norm(gradients: Iterable[Tensor]) -> Tensor:
    squares: list[Tensor] = [each.float().square().sum() for each in gradients]
    return torch.stack(squares).sum().sqrt()
