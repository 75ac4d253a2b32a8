"""What training makes small, and how an evaluation measures it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.nn import functional

from qcli.recipe.training import TrainingRecipe

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_hinge(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of max(0, 1 - t * score)^2, t = 1 for the right class and -1 for others.

    Args:
        scores: [B, num_classes].
        labels: int64 [B].

    Source: the loss of binarized networks, Courbariaux et al., 2016, arXiv:1602.02830.
    """
    targets = 2 * functional.one_hot(labels, scores.shape[1]).to(scores.dtype) - 1
    return functional.relu(1 - targets * scores).square().mean()


def training_loss(recipe: TrainingRecipe) -> Loss:
    """Return the recipe's loss of scores [B, num_classes] and labels [B], with its smoothing."""
    if recipe.loss == "squared_hinge":
        return squared_hinge
    return partial(functional.cross_entropy, label_smoothing=recipe.label_smoothing)


def evaluation_loss(recipe: TrainingRecipe) -> Loss:
    """Return the recipe's loss without smoothing, which is how well a network does."""
    return squared_hinge if recipe.loss == "squared_hinge" else functional.cross_entropy
