"""The exponential moving average of what is trained, which takes its place in evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from qcli.quantization.surgery import latents


class WeightAverage:
    """Averages every trained parameter: weights, latents, and those of quantizers.

    After the first step the average is the parameter, after each later one decay * average +
    (1 - decay) * parameter. Buffers, such as the statistics of norms, have no average: an
    evaluation uses them as they are. A quantized weight is that of the averaged latent, from which
    its quantizer measures its scale anew; the basis of LQ-Nets, itself an average, stays.

    Args:
        network: The bare network, on its device.
        decay: The share of the average that a step keeps, 0..1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        trained = {name: each for name, each in network.named_parameters() if each.requires_grad}
        self.names = list(trained)
        self.parameters: list[Tensor] = list(trained.values())
        self.averages = [each.detach().clone() for each in self.parameters]
        self.latents = latents(network)
        self.steps = 0
        self._move: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters after an optimizer step."""
        if self.steps == 0:
            torch._foreach_copy_(self.averages, self.parameters)
        else:
            self._move(self.averages, self.parameters, self.steps)
        self.steps += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the averages; put everything back at the end, bit for bit."""
        buffers = [buffer for quantizer in self.latents for buffer in quantizer.buffers()]
        kept = [buffer.clone() for buffer in buffers]
        self._exchange()
        try:
            self._measure()
            yield
        finally:
            self._exchange()
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)

    @torch.no_grad()
    def _measure(self) -> None:
        for quantizer, latent in self.latents.items():
            quantizer.measure(latent)

    @torch.no_grad()
    def _exchange(self) -> None:
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        averages = dict(zip(self.names, self.averages, strict=True))
        return {"steps": self.steps, "averages": averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what a checkpoint kept; raises KeyError where it is of another network."""
        self.steps = state["steps"]
        for name, average in zip(self.names, self.averages, strict=True):
            average.copy_(state["averages"][name])
