"""The constants that a recipe normalizes images with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qcli.errors import PluginError, RecipeError
from qcli.training.splits import ArraySplit, Normalization, Split, Splits

KNOWN: Mapping[str, Normalization] = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # The mean of the standard deviations of single images, in place of that of all pixels.
    "cifar10_per_image_std": Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
LQ_NETS_DIVISOR = 128


@dataclass(frozen=True)
class PixelNormalization:
    """Constants for images scaled to [0, 1], (image - mean) / std, with a mean for each pixel.

    Args:
        mean: float32 [H, W, C].
        std: One number.
    """

    mean: Tensor
    std: float


def find_affine(normalization: Normalization | PixelNormalization | None) -> tuple[Tensor, Tensor]:
    """Return factor and offset, float32, with which pixels 0..255 become pixel * factor + offset.

    Args:
        normalization: None: images stay in [0, 1].
    """
    mean = torch.as_tensor(normalization.mean if normalization else [0.0])
    std = torch.as_tensor(normalization.std if normalization else [1.0])
    return 1 / (255 * std), -mean / std


def choose_normalization(
    choice: str | Mapping[str, Any], splits: Splits, channels: int
) -> Normalization | PixelNormalization | None:
    """Return the constants that a recipe asks for; None: images stay in [0, 1].

    Args:
        choice: What the recipe says.
        splits: The data set.
        channels: Of the images.

    Raises:
        RecipeError: The constants do not fit the images.
        PluginError: Those of the data set itself do not fit its images.
    """
    if choice == "none" or (choice == "dataset" and splits.normalization is None):
        return None
    if choice == "lq_nets":
        return _center_pixels(splits.train)
    own = {"dataset": splits.normalization, **KNOWN}
    chosen = own[choice] if isinstance(choice, str) else Normalization(**choice)
    assert chosen is not None
    if len(chosen.mean) in (1, channels) and len(chosen.std) == len(chosen.mean):
        return chosen
    fault = (
        f"{len(chosen.mean)} means and {len(chosen.std)} stds, "
        f"but the images have {channels} channels"
    )
    if choice == "dataset":
        raise PluginError(f"the data set normalizes with {fault}")
    raise RecipeError([f"/normalize: {fault}"])


def _center_pixels(train: Split) -> PixelNormalization:
    """Subtract the mean of the training images and divide by 128, as LQ-Nets does."""
    if not isinstance(train, ArraySplit):
        raise RecipeError(
            ['/normalize: "lq_nets" takes the mean of images in memory; use imagenet for files']
        )
    sums = train.images.sum(0, dtype=torch.int64).permute(1, 2, 0)
    mean = (sums.double() / (255 * len(train))).float()
    return PixelNormalization(mean, LQ_NETS_DIVISOR / 255)
