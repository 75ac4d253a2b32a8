"""What one training step of one quantizer costs, counted and not timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qcli.quantization.quantizer import Quantizer
from qcli.recipe.schedule import Progress
from qcli.testing.case import MOMENTS
from qcli.testing.operations import Operations, distinct_bytes, tensors_in


@dataclass(frozen=True)
class StepCost:
    """What one training step of a quantizer costs; `Operations` says how it is counted.

    Args:
        operations: By part, "on_progress", "forward", "backward" and "after_step": the operations.
        extra_bytes: What forward and backward read and write beyond reading the latent and the
            gradient of the result once, and writing the result and the gradient of the latent once.
        saved_bytes: What is kept for backward beyond the latent, parameters and buffers.
        waits: By part: what made the host wait, or would on a device that is not the CPU.
    """

    operations: Mapping[str, tuple[str, ...]]
    extra_bytes: int
    saved_bytes: int
    waits: Mapping[str, tuple[str, ...]]


def measure_step(quantizer: Quantizer, latent: Tensor, progress: Progress = MOMENTS[1]) -> StepCost:
    """Take one training step of a quantizer, without the optimizer's update, and count its cost.

    Args:
        quantizer: Observed, on the CPU or a device; it is left in train mode.
        latent: What forward is given: the latent of a weight, or a batch of inputs or outputs.
        progress: Where training is.
    """
    leaf = latent.detach().clone().requires_grad_()
    wanted = [leaf, *(each for each in quantizer.parameters() if each.requires_grad)]
    parts = {name: Operations() for name in ("on_progress", "forward", "backward", "after_step")}
    quantizer.train()
    with parts["on_progress"]:
        quantizer.on_progress(progress)
    with keep_saved() as saved, parts["forward"]:
        result = quantizer(leaf)
    saved += attributes_saved(result)
    gradient = torch.ones_like(result)
    with parts["backward"]:
        torch.autograd.grad(result, wanted, gradient, allow_unused=True)
    with parts["after_step"], torch.no_grad():
        quantizer.after_step(leaf if quantizer.info.role == "weight" else None)
    needed = 2 * (distinct_bytes(leaf) + distinct_bytes(result))
    return StepCost(
        operations={name: tuple(part.names) for name, part in parts.items()},
        extra_bytes=parts["forward"].moved_bytes + parts["backward"].moved_bytes - needed,
        saved_bytes=bytes_beside(saved, [leaf, *_state(quantizer)]),
        waits={name: tuple(part.waits) for name, part in parts.items()},
    )


@contextmanager
def keep_saved() -> Iterator[list[Tensor]]:
    """Yield a list that collects every tensor that is saved for backward inside the block."""
    saved: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        # Detached: a saved result would hold its own graph, which holds it.
        saved.append(x.detach())
        return saved[-1]

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield saved


def attributes_saved(result: Tensor) -> list[Tensor]:
    """Return the tensors that autograd Functions behind a result keep without `save_for_backward`.

    Args:
        result: With its graph.
    """
    saved: list[Tensor] = []
    seen: set[Any] = set()
    nodes: list[Any] = [result.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        saved += (x for kept in getattr(node, "__dict__", {}).values() for x in tensors_in(kept))
        nodes += (following for following, _ in node.next_functions)
    return saved


def bytes_beside(tensors: list[Tensor], known: list[Tensor]) -> int:
    """Return the size of all memory behind tensors that is not behind known ones.

    Args:
        tensors: Those that share memory count once.
        known: Those whose memory is there anyway.
    """
    sizes = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in tensors}
    for each in known:
        sizes.pop(each.untyped_storage()._cdata, None)
    return sum(sizes.values())


def _state(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
