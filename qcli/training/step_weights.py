"""The quantized weights of a step: made once, whatever number of micro-batches computes with them.

The network computes with a leaf in the place of each. Its gradient is gathered over micro-batches,
averaged over processes, and then passed on to what is trained: it has the size of the weight, where
a search has a logit for every value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as processes
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from qcli.quantization.surgery import latents

# Gradients of so many numbers wait for one call of the optimizer, 32 MB in float32.
MOST_WAITING = 1 << 23


@dataclass(frozen=True)
class _Weight:
    """Where a quantized weight was made, its leaf, and how many numbers are trained for it."""

    origin: GradientEdge
    leaf: Any
    size: int


class StepWeights:
    """Holds the quantized weights of a step, and passes their gradients on.

    Args:
        network: The bare network, before it is wrapped for several processes: these leave what
            serves quantized weights to this class.
        num_processes: That train it together.
        patience: How long they wait for one another; None: torch's choice.
    """

    def __init__(
        self, network: nn.Module, num_processes: int, patience: timedelta | None = None
    ) -> None:
        self.latent_of = latents(network)
        self.num_processes = num_processes
        self.held: list[_Weight] = []
        self.exchanges: list[Any] = []
        self.group: Any = None
        self.is_holding = self.is_last = False
        for quantizer in self.latent_of:
            quantizer.register_forward_hook(self._hold)
        if num_processes > 1:
            # An exchange of its own: those of the other parameters begin in an order of theirs.
            self.group = processes.new_group(timeout=patience)
            self._keep_from_wrapper(network)

    def _keep_from_wrapper(self, network: nn.Module) -> None:
        """Let processes start alike, and exchange the gradients of other parameters alone."""
        own = _own_parameters(network)
        for parameter in own.values():
            processes.broadcast(parameter.data, src=0)
        wrapper: Any = DistributedDataParallel
        wrapper._set_params_and_buffers_to_ignore_for_model(network, list(own))

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Quantize each weight once, when the network first asks for it."""
        self.held.clear()
        self.is_holding = True
        try:
            with parametrize.cached():
                yield
        finally:
            self.is_holding = False

    def _hold(self, quantizer: Any, args: Any, quantized: Tensor) -> Tensor | None:
        """Give the network a leaf in place of the quantized weight."""
        if not (self.is_holding and quantized.requires_grad):
            return None
        leaf: Any = quantized.detach().requires_grad_()
        leaf.register_post_accumulate_grad_hook(self._arrive)
        origin = get_gradient_edge(quantized)
        self.held.append(_Weight(origin, leaf, self.latent_of[quantizer].numel()))
        held: Tensor = leaf
        return held

    def _arrive(self, leaf: Any) -> None:
        """Take the last gradient of a leaf, while backward goes on with other layers."""
        if not self.is_last:
            return
        # Nothing computes with the weight any more.
        leaf.data = leaf.data.new_empty(0)
        if self.num_processes > 1:
            leaf.grad.div_(self.num_processes)
            self.exchanges.append(processes.all_reduce(leaf.grad, group=self.group, async_op=True))

    def pass_on(self, settle: Callable[[], None] | None = None) -> None:
        """Pass the gradients on to what is trained.

        Args:
            settle: Updates what has a gradient and frees the gradient; called now and then, so
                that the gradients of all logits never take memory together. None: they do.
        """
        for exchange in self.exchanges:
            exchange.wait()
        self.exchanges.clear()
        waiting = 0
        for weight in self.held:
            if weight.leaf.grad is not None:
                torch.autograd.backward((weight.origin,), (weight.leaf.grad,))
                weight.leaf.grad = None
                waiting += weight.size
            if settle is not None and waiting >= MOST_WAITING:
                settle()
                waiting = 0
        self.held.clear()


def trains_others(network: nn.Module) -> bool:
    """Say whether anything is trained beside quantized weights: a wrapper needs something."""
    own = {id(each) for each in _own_parameters(network).values()}
    return any(each.requires_grad and id(each) not in own for each in network.parameters())


def _own_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return what serves quantized weights, by name: latents, and their quantizers' parameters."""
    latent_of = latents(network)
    own = {id(latent) for latent in latent_of.values()}
    own |= {id(each) for quantizer in latent_of for each in quantizer.parameters()}
    return {name: each for name, each in network.named_parameters() if id(each) in own}
