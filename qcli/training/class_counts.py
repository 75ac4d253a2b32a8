"""The confusion matrix, counted while images are measured."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli.quantization.ops import all_reduce_sum


class ClassCounts:
    """Counts images by true class and by the class that they were taken for, on the device.

    `counts` is int64 [C, C] for C classes: rows are true classes, columns the likeliest ones.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def add(self, likeliest: Tensor, labels: Tensor) -> None:
        """Count a batch, likeliest classes and labels int64 [B]; nothing is read."""
        self.counts.index_put_((labels, likeliest), self.counts.new_ones(()), accumulate=True)

    def read(self) -> Tensor:
        """Return the counts so far of all processes, on the CPU: one exchange, one read."""
        return all_reduce_sum(self.counts).to("cpu", copy=True)
