"""Batch norms of a network that trains soft and is deployed hard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from qcli.quantization.ops import all_reduce_sum


@contextmanager
def recalibrated(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Give every batch norm the statistics of hard weights; put the soft ones back at the end.

    The statistics are the plain average over the batches, in train mode of the norms and eval
    mode of everything else, on training images alone.

    Source: the released form of SLB's state batch norm, arXiv:2009.08695, section 3.3.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    kept = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    try:
        _estimate(model, norms, batches)
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, value in buffers.items():
                norm.get_buffer(name).copy_(value)


@torch.no_grad()
def _estimate(model: nn.Module, norms: list[_BatchNorm], batches: Iterable[Tensor]) -> None:
    training = model.training
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        with parametrize.cached():
            for images in batches:
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


@torch.no_grad()
def share_buffers(model: nn.Module, is_main_process: bool) -> None:
    """Give every process the buffers of the main one: each has seen its own images."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(all_reduce_sum(buffer if is_main_process else torch.zeros_like(buffer)))
