"""The laws of data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from qcli.catalog.catalog import resolve_build
from qcli.catalog.entries import DatasetEntry
from qcli.testing.entry_laws import describes_options, matches_build
from qcli.testing.law import Law, check_laws
from qcli.training.splits import ArraySplit, Split, Splits

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class _Data:
    entry: DatasetEntry
    splits: Splits
    shape: Shape

    def parts(self) -> dict[str, Split]:
        return {"train": self.splits.train, "test": self.splits.test}


def holds_images(data: _Data) -> Iterator[str]:
    """Each split holds images and labels: uint8 [N, C, H, W] with int64 [N], or PIL with int."""
    for name, split in data.parts().items():
        if not len(split):
            yield f"{name} is empty"
        found = _find_in_array(split, data.shape) if isinstance(split, ArraySplit) else _find(split)
        yield from (f"{name}: {text}" for text in found)


def _find_in_array(split: ArraySplit, shape: Shape) -> Iterator[str]:
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
        yield f"images of {images.dtype} {list(images.shape)}, allowed: uint8 [N, *{shape}]"
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        yield f"labels of {labels.dtype} {list(labels.shape)} for {len(images)} images"


def _find(split: Split) -> Iterator[str]:
    assert not isinstance(split, ArraySplit)
    image, label = split[0]
    if not isinstance(image, Image) or not isinstance(label, int):
        yield f"item 0 is {type(image).__name__} and {type(label).__name__}, not PIL image and int"


def labels_classes(data: _Data) -> Iterator[str]:
    """Labels are 0..num_classes - 1, and class names, where given, are as many as classes."""
    splits = data.splits
    for name, split in data.parts().items():
        labels = split.labels if isinstance(split, ArraySplit) else torch.tensor([split[0][1]])
        if int(labels.min()) < 0 or int(labels.max()) >= splits.num_classes:
            yield f"{name}: labels {int(labels.min())} to {int(labels.max())}"
    if data.entry.num_classes not in (None, splits.num_classes):
        yield f"{splits.num_classes} classes, but the entry says {data.entry.num_classes}"
    if splits.class_names and len(splits.class_names) != splits.num_classes:
        yield f"{len(splits.class_names)} names for {splits.num_classes} classes"


def normalizes_channels(data: _Data) -> Iterator[str]:
    """The normalization, where given, has a mean and a positive std for each channel."""
    constants, channels = data.splits.normalization, data.shape[0]
    if constants is None:
        return
    if len(constants.mean) != channels or len(constants.std) != channels:
        yield f"{len(constants.mean)} means and {len(constants.std)} stds for {channels} channels"
    if min(constants.std) <= 0:
        yield f"std {list(constants.std)}"


_LAWS: tuple[Law[_Data], ...] = (holds_images, labels_classes, normalizes_channels)
_ENTRY_LAWS: tuple[Law[DatasetEntry], ...] = (describes_options, matches_build)


def check_dataset(
    entry: DatasetEntry,
    root: Path | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    image_shape: Shape = (3, 32, 32),
) -> None:
    """Check a data set's entry and the images that it loads.

    Args:
        entry: What the plugin hands over.
        root: Where its files are; None: it needs none.
        options: Options in place of the defaults.
        image_shape: (C, H, W) for an entry that makes images in the shape that is wanted.

    Raises:
        LawBroken: An AssertionError that names the entry, the law and what was found.
    """
    check_laws(_ENTRY_LAWS, entry, entry.name, "options")
    shape = entry.image_shape or image_shape
    splits = resolve_build(entry.build, entry.name)(root, shape, **(options or {}))
    check_laws(_LAWS, _Data(entry, splits, shape), entry.name, f"root {root}")
