"""Batch norms of a network that trains soft and is deployed hard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from qcli.training.evaluation import plain_forward


@contextmanager
def recalibrated(model: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Give every batch norm the statistics of hard weights; put the soft ones back at the end.

    The statistics are the plain average over the batches, in train mode of the norms and eval
    mode of everything else, on training images alone.

    Source: the released form of SLB's state batch norm, arXiv:2009.08695.
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
        with plain_forward(model), parametrize.cached():
            for images in batches:
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """Give every process the saved buffers of the main one; with one process, do nothing."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    saved = model.state_dict(keep_vars=True)
    for name, buffer in model.named_buffers():
        if name in saved:
            # gloo knows no booleans.
            wire = buffer.to(torch.uint8) if buffer.dtype == torch.bool else buffer.clone()
            torch.distributed.broadcast(wire, src=0)
            buffer.copy_(wire)
