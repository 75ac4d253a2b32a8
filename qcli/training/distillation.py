"""Distillation: a trained network shows the one in training how likely every class is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from qcli.recipe.training import DistillationRecipe


@dataclass(frozen=True)
class Teacher:
    """A network in eval mode that sees the same augmented batches.

    Args:
        network: On the device of training; nothing of it is trained.
        recipe: How much it counts.
    """

    network: nn.Module
    recipe: DistillationRecipe

    def blend(self, loss: Tensor, scores: Tensor, images: Tensor) -> Tensor:
        """Return (1 - w) * loss + w * T^2 * KL(teacher || student).

        KL = sum over classes of p * log(p / q), mean over images; p = softmax(teacher's scores /
        T), q = softmax(scores / T). T^2 keeps the size of its gradient as T changes.

        Args:
            loss: The recipe's loss, a mean over images.
            scores: [B, num_classes], of the network in training.
            images: [B, C, H, W], what it saw.

        Source: Hinton et al., 2015, arXiv:1503.02531, sections 2 and 2.1; the cross-entropy with
            soft targets there has the same gradient as KL.
        """
        weight, temperature = self.recipe.weight, self.recipe.temperature
        wanted = functional.log_softmax(self._score(images) / temperature, 1)
        found = functional.log_softmax(scores / temperature, 1)
        divergence = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return (1 - weight) * loss + weight * temperature**2 * divergence

    def is_finite(self, images: Tensor) -> bool:
        """Say whether every score of the teacher is finite for images [B, C, H, W]."""
        return bool(torch.isfinite(self._score(images)).all())

    @torch.no_grad()
    def _score(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(images).float()
        return scores
