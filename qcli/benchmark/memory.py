"""The bytes that a training step needs: counted, the same on every machine."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qcli.benchmark.case import Arm, Scope
from qcli.benchmark.step_cases import RESNET18_OF_32_PIXELS, SLB_VALUES
from qcli.benchmark.training_step import draw_batches, make_training
from qcli.catalog.load import load_catalog
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.assembly import build_float_model


def count_search(scope: Scope) -> dict[str, Arm]:
    """Return the bytes of a step of float, of search over 4 values, and of SLB by autograd."""
    search = replace(RESNET18_OF_32_PIXELS, quant_json="search-2b")
    return {
        "float": Arm(partial(count_training_bytes, RESNET18_OF_32_PIXELS)),
        "search-2b": Arm(partial(count_training_bytes, search)),
        "naive SLB": Arm(partial(count_naive_search_bytes, RESNET18_OF_32_PIXELS)),
    }


def count_training_bytes(request: Request) -> float:
    """Return the bytes of a step of qcli."""
    training = make_training(request)
    batch = draw_batches(training.setting, training.device)[0]
    step = partial(training.step, [batch], 0)
    return count_step_bytes(training.learner.network, training.learner.optimizer.optimizer, step)


def count_naive_search_bytes(request: Request) -> float:
    """Return the bytes of a plain step of the same network with a softmax over the logits."""
    from qcli.benchmark.peers.softmax_search import quantize_by_softmax_search

    setting = resolve_setting(request, load_catalog())
    model = build_float_model(setting)
    quantize_by_softmax_search(model, SLB_VALUES, hard=False)
    batch = draw_batches(setting, torch.device("cpu"))[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step() -> None:
        torch.autograd.backward(cross_entropy(model(batch.images), batch.labels))
        optimizer.step()
        optimizer.zero_grad()

    return count_step_bytes(model, optimizer, step)


def count_step_bytes(
    model: nn.Module, optimizer: torch.optim.Optimizer, step: Callable[[], None]
) -> float:
    """Return the most bytes that live at once in a training step.

    These are parameters, buffers and what the optimizer keeps, and what operations make: what is
    kept for backward, gradients, and what lives for a moment. Memory that tensors share counts
    once. Images, and what an operation needs inside, do not count.

    Args:
        model: The network.
        optimizer: Of its parameters.
        step: Takes one whole step, and forgets the gradients.
    """
    # The first step makes what the optimizer keeps.
    step()
    kept = (value for values in optimizer.state.values() for value in values.values())
    state = [*model.parameters(), *model.buffers(), *kept]
    storages = {
        each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
        for each in state
        if isinstance(each, Tensor)
    }
    with LiveBytes() as live:
        step()
    return float(sum(storages.values()) + live.most)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory of what operations make, from its making until its end.

    `most` is the largest sum so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.living: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count what is new in its result."""
        old = {id(each.untyped_storage()) for each in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if id(storage) not in old and id(storage) not in self.living:
                self._begin(storage)
        return result

    def _begin(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def end(_: object) -> None:
            del self.living[key]
            self.now -= size

        self.living[key] = weakref.ref(storage, end)
        self.now += size
        self.most = max(self.most, self.now)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
