"""A training step as a plain PyTorch program takes it: eager, float32, SGD.

Source: the loop of PyTorch's own tutorial, "Training a Classifier"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def make_plain_step(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]
) -> Callable[[], None]:
    """Return a function that takes one step on the next of the batches (images, labels)."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    model.train()

    def step() -> None:
        images, labels = next(batches)
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(images), labels))
        optimizer.step()

    return step
