"""What turns an image into a network's input, written down: a run keeps it for deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qcli.recipe.training import TrainingRecipe
from qcli.training.normalization import PixelNormalization, choose_normalization
from qcli.training.splits import ArraySplit, Splits
from qcli.training.transforms import resized_side


def describe_pixels(
    splits: Splits, recipe: TrainingRecipe, shape: Sequence[int]
) -> Mapping[str, Any]:
    """Return the way from an image to the network as JSON.

    Args:
        splits: The data set.
        recipe: How it is evaluated.
        shape: (C, H, W) that the network takes.

    Returns:
        `mean` and `std` for (pixel / 255 - mean) / std, null where each pixel has its own mean;
        `image`: `resize`, a side or [h, w] or null, `crop`, [h, w] or null, `interpolation` and
        `channels`; `classes`: their names, or nothing.
    """
    chosen = choose_normalization(recipe.normalize, splits, shape[0])
    constants: dict[str, Any] = {"mean": [0.0], "std": [1.0]}
    if isinstance(chosen, PixelNormalization):
        constants = {"mean": None, "std": None}
    elif chosen:
        constants = {"mean": [*chosen.mean], "std": [*chosen.std]}
    return {
        **constants,
        "image": _describe_image(splits, recipe, shape),
        "classes": [*splits.class_names],
    }


def _describe_image(
    splits: Splits, recipe: TrainingRecipe, shape: Sequence[int]
) -> Mapping[str, Any]:
    fixed = {"channels": shape[0], "interpolation": recipe.interpolation}
    if isinstance(splits.test, ArraySplit):
        return {**fixed, "resize": None, "crop": None}
    side = resized_side((shape[1], shape[2]), recipe.evaluation_resize)
    resize = side if recipe.evaluation_crop == "resize_center" else [side, side]
    return {**fixed, "resize": resize, "crop": list(shape[1:])}
