"""Turn a data set and a training recipe into batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qcli.catalog.building import build_entry
from qcli.catalog.entries import DatasetEntry, Shape
from qcli.errors import DataError, PluginError, RecipeError
from qcli.recipe.setting import Setting
from qcli.recipe.training import TrainingRecipe
from qcli.training.augment import CUTS, runs_in_threads, runs_on_device
from qcli.training.batches import (
    EvaluationBatches,
    Normalize,
    Normalizer,
    Process,
    ResidentEvaluation,
    ResidentTraining,
    TrainingBatches,
)
from qcli.training.division import Division
from qcli.training.keyed import keyed_generator
from qcli.training.normalization import choose_normalization
from qcli.training.pack import is_pack, read_pack
from qcli.training.packed_images import PackedImages
from qcli.training.splits import ArraySplit, ImageSplit, Split, Splits


@dataclass(frozen=True)
class Data:
    """The batches of a run.

    Args:
        training: What the network is trained on.
        selection: What selects the best epoch: the validation set, or the test set.
        test: The test set.
        num_classes: Of all of them.
        notes: What the user should know of how they are made.
    """

    training: TrainingBatches
    selection: EvaluationBatches
    test: EvaluationBatches
    num_classes: int
    notes: tuple[str, ...] = ()


def load_splits(setting: Setting, root: Path | None) -> Splits:
    """Read the data set of a setting.

    Raises:
        DataError: Files are missing or damaged.
        PluginError: What the data set's plugin returns is no Splits.
    """
    assert setting.dataset is not None
    return build_splits(setting.dataset, root, setting.image_shape, setting.dataset_options)


def build_splits(
    entry: DatasetEntry, root: Path | None, image_shape: Shape, options: Mapping[str, Any]
) -> Splits:
    """Read a data set, or the pack of it that lies in its place.

    Args:
        entry: What its plugin offers.
        root: Where its files lie.
        image_shape: (C, H, W) of the images.
        options: The keyword arguments of its `build`.

    Raises:
        DataError: Files are missing or damaged.
        PluginError: What the plugin returns is no Splits.
    """
    if root is not None and is_pack(root):
        return read_pack(root, entry.name, options, image_shape[0])
    try:
        splits = build_entry(entry, root, image_shape, **options)
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
    selection = test
    if held_out is not None:
        selection = make_evaluation(held_out, splits, recipe, shape, process)
    return Data(training, selection, test, splits.num_classes, _notes(train, recipe))


def _notes(train: Split, recipe: TrainingRecipe) -> tuple[str, ...]:
    if not isinstance(train, PackedImages) or runs_in_threads(recipe.augment):
        return ()
    return (
        "augment: worker processes do this image by image; with one of "
        f"{', '.join(CUTS)} first, and only flip behind it, threads read the pack, which is faster",
    )


def make_evaluation(
    split: Split,
    splits: Splits,
    recipe: TrainingRecipe,
    shape: tuple[int, ...],
    process: Process,
) -> EvaluationBatches:
    """Make the batches of one process of a set that is measured; arguments as for `make_data`."""
    normalizer = make_normalizer(splits, recipe, shape[0], process)
    return make_batches(split, recipe, shape, normalizer, process)


def make_batches(
    split: Split,
    recipe: TrainingRecipe,
    shape: tuple[int, ...],
    normalizer: Normalize,
    process: Process,
) -> EvaluationBatches:
    """Make batches as `make_evaluation` does, of what a function makes of uint8 [B, H, W, C]."""
    batch_size = recipe.evaluation_batch_size
    if isinstance(split, ArraySplit):
        return ResidentEvaluation(split, batch_size, normalizer, process)
    from qcli.training.streaming import StreamedEvaluation
    from qcli.training.transforms import evaluation_transform, resized_side

    size = (shape[1], shape[2])
    transform = evaluation_transform(
        size, recipe.evaluation_resize, recipe.evaluation_crop, recipe.interpolation
    )
    if isinstance(split, PackedImages):
        from qcli.training.packed_batches import PackedEvaluation

        return PackedEvaluation(
            split,
            batch_size,
            size,
            resized_side(size, recipe.evaluation_resize),
            recipe.evaluation_crop,
            recipe.interpolation,
            normalizer,
            recipe.workers,
            process,
        )
    return StreamedEvaluation(split, batch_size, transform, normalizer, recipe.workers, process)


def _make_training(
    split: Split,
    splits: Splits,
    recipe: TrainingRecipe,
    shape: tuple[int, ...],
    process: Process,
) -> TrainingBatches:
    normalizer = make_normalizer(splits, recipe, shape[0], process)
    division = Division(
        len(split), recipe.batch_size, recipe.accumulate, recipe.drop_last, process.count
    )
    names = [str(name) for name in recipe.augment]
    if isinstance(split, ArraySplit) and runs_on_device(recipe.augment):
        return ResidentTraining(split, division, names, normalizer, recipe.seed, process)
    if isinstance(split, PackedImages) and runs_in_threads(recipe.augment):
        from qcli.training.packed_batches import PackedTraining

        return PackedTraining(
            split,
            division,
            names,
            (shape[1], shape[2]),
            recipe.interpolation,
            normalizer,
            recipe.seed,
            recipe.workers,
            process,
        )
    from qcli.training.streaming import StreamedTraining
    from qcli.training.transforms import training_transform

    transform = training_transform(
        recipe.augment, shape, recipe.interpolation, in_memory=isinstance(split, ArraySplit)
    )
    return StreamedTraining(
        split, division, transform, normalizer, recipe.seed, recipe.workers, process
    )


def make_normalizer(
    splits: Splits, recipe: TrainingRecipe, channels: int, process: Process
) -> Normalizer:
    """Return what turns uint8 images into the network's input."""
    normalization = choose_normalization(recipe.normalize, splits, channels)
    return Normalizer(normalization, recipe.channels_last, process.device)


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
    kept, apart = order[held:].sort().values, order[:held].sort().values
    return select_images(train, kept), select_images(train, apart)


def select_images(split: Split, indices: torch.Tensor) -> Split:
    """Return some images of a split, in the order of their indices, int64 [N]."""
    if isinstance(split, ArraySplit):
        return ArraySplit(split.images[indices], split.labels[indices])
    if isinstance(split, PackedImages):
        return split.select(indices)
    return _ImageSubset(split, indices)


@dataclass(frozen=True)
class _ImageSubset:
    split: ImageSplit
    # A tensor, not a list: each worker process would copy a million Python numbers by counting
    # references.
    indices: torch.Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.split[int(self.indices[index])]

    @property
    def labels(self) -> torch.Tensor | None:
        labels = getattr(self.split, "labels", None)
        return None if labels is None else torch.as_tensor(labels)[self.indices]
