"""Precision, recall and F1, from how often each class was right, named and present."""

from __future__ import annotations

import torch
from torch import Tensor

from qcli.quantization.ops import all_reduce_sum

# What `select_by` names and a plain tally does not count.
CLASS_SCORES = ("precision", "recall", "f1")


class ClassCounts:
    """Counts over images, on the device.

    `counts` is int64 [3, num_classes]: images of the class that were right, images that were taken
    for the class, images of the class.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.counts = torch.zeros(3, num_classes, dtype=torch.int64, device=device)

    def add(self, likeliest: Tensor, labels: Tensor) -> None:
        """Count a batch, likeliest classes and labels int64 [B]; nothing is read."""
        one = torch.ones_like(labels)
        right, named, present = self.counts
        right.index_add_(0, labels, (likeliest == labels).to(one.dtype))
        named.index_add_(0, likeliest, one)
        present.index_add_(0, labels, one)

    def read(self) -> dict[str, float]:
        """Return the scores so far, over all processes: one exchange, one read.

        Each is the plain mean over classes (macro average): right / named for precision, right /
        present for recall, 2 right / (named + present) for F1; 0 where nothing is divided by
        nothing. Classes that are neither named nor present are left out.
        """
        counts = all_reduce_sum(self.counts).to("cpu", torch.float64)
        right, named, present = counts[:, counts[1:].sum(0) > 0]
        parts = (right / named, right / present, 2 * right / (named + present))
        means = (part.nan_to_num(0.0).mean().nan_to_num(0.0) for part in parts)
        return dict(zip(CLASS_SCORES, map(float, means), strict=True))
