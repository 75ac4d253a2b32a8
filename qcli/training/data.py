"""Turn a data set and a training recipe into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qcli.catalog.building import build_entry
from qcli.errors import DataError, PluginError, RecipeError
from qcli.recipe.setting import Setting
from qcli.recipe.training import TrainingRecipe
from qcli.training.batches import (
    EvaluationBatches,
    Normalizer,
    Process,
    ResidentEvaluation,
    ResidentTraining,
    TrainingBatches,
)
from qcli.training.division import Division
from qcli.training.keyed import keyed_generator
from qcli.training.splits import ArraySplit, ImageSplit, Normalization, Split, Splits

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Data:
    """The batches of a run.

    Args:
        training: What the network is trained on.
        selection: What selects the best epoch: the validation set, or the test set.
        test: The test set.
    """

    training: TrainingBatches
    selection: EvaluationBatches
    test: EvaluationBatches


def load_splits(setting: Setting, root: Path | None) -> Splits:
    """Read the data set of a setting.

    Raises:
        DataError: Files are missing or damaged.
        PluginError: What the data set's plugin returns is no Splits.
    """
    entry = setting.dataset
    assert entry is not None
    try:
        splits = build_entry(entry, root, setting.image_shape, **setting.dataset_options)
    except ValueError as error:
        raise DataError(f"{entry.name}: {error}") from error
    if not isinstance(splits, Splits):
        raise PluginError(f'"{entry.name}" builds a {type(splits).__name__}, not a qcli.Splits')
    return splits


def make_data(
    splits: Splits, recipe: TrainingRecipe, shape: tuple[int, ...], process: Process
) -> Data:
    """Make the batches of one process.

    Args:
        splits: The data set.
        recipe: How it is augmented, normalized and divided.
        shape: (C, H, W) that the network takes.
        process: Which process this is.
    """
    train, held_out = _hold_out(splits.train, recipe)
    training = _make_training(train, splits, recipe, shape, process)
    test = make_evaluation(splits.test, splits, recipe, shape, process)
    if held_out is None:
        return Data(training, test, test)
    return Data(training, make_evaluation(held_out, splits, recipe, shape, process), test)


def make_evaluation(
    split: Split,
    splits: Splits,
    recipe: TrainingRecipe,
    shape: tuple[int, ...],
    process: Process,
) -> EvaluationBatches:
    """Make the batches of one process of a set that is measured; arguments as for `make_data`."""
    normalizer = _normalizer(splits, recipe, shape[0], process)
    batch_size = recipe.evaluation_batch_size
    if isinstance(split, ArraySplit):
        return ResidentEvaluation(split, batch_size, normalizer, process)
    from qcli.training.streaming import StreamedEvaluation, evaluation_transform

    transform = evaluation_transform((shape[1], shape[2]), recipe.evaluation_resize)
    return StreamedEvaluation(split, batch_size, transform, normalizer, recipe.workers, process)


def _make_training(
    split: Split,
    splits: Splits,
    recipe: TrainingRecipe,
    shape: tuple[int, ...],
    process: Process,
) -> TrainingBatches:
    normalizer = _normalizer(splits, recipe, shape[0], process)
    division = Division(
        len(split), recipe.batch_size, recipe.accumulate, recipe.drop_last, process.count
    )
    if isinstance(split, ArraySplit):
        return ResidentTraining(split, division, recipe.augment, normalizer, recipe.seed, process)
    from qcli.training.streaming import StreamedTraining, training_transform

    transform = training_transform(recipe.augment, (shape[1], shape[2]))
    return StreamedTraining(
        split, division, transform, normalizer, recipe.seed, recipe.workers, process
    )


def _normalizer(
    splits: Splits, recipe: TrainingRecipe, channels: int, process: Process
) -> Normalizer:
    normalization = _normalization(recipe.normalize, splits, channels)
    return Normalizer(normalization, recipe.channels_last, process.device)


def _normalization(choice: Any, splits: Splits, channels: int) -> Normalization | None:
    if choice == "none" or (choice == "dataset" and splits.normalization is None):
        return None
    own = {"dataset": splits.normalization, "imagenet": IMAGENET}
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


def _hold_out(train: Split, recipe: TrainingRecipe) -> tuple[Split, Split | None]:
    """Split the training set into what is trained on and what selects, by the seed."""
    held = round(len(train) * recipe.validation_fraction)
    if recipe.validation_fraction == 0:
        return train, None
    if not 0 < held < len(train):
        raise RecipeError(
            [
                f"/validation_fraction: {recipe.validation_fraction} of {len(train)} images "
                f"holds out {held}"
            ]
        )
    order = torch.randperm(len(train), generator=keyed_generator(recipe.seed, "hold out"))
    return _subset(train, order[held:].sort().values), _subset(train, order[:held].sort().values)


def _subset(split: Split, indices: torch.Tensor) -> Split:
    if isinstance(split, ArraySplit):
        return ArraySplit(split.images[indices], split.labels[indices])
    return _ImageSubset(split, indices.tolist())


@dataclass(frozen=True)
class _ImageSubset:
    split: ImageSplit
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.split[self.indices[index]]
