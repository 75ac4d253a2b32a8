"""What a data set holds: images, shapes, classes, and which files cannot be decoded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from qcli.errors import DataError
from qcli.training.splits import ArraySplit, ImageSplit, Split, Splits

SAMPLE = 100
IMAGES_AT_ONCE = 1000


@dataclass(frozen=True)
class Part:
    """One split of a data set.

    Args:
        images: How many there are.
        in_memory: Whether all images lie in memory; photographs are decoded when they are needed.
        shape: (C, H, W) of images in memory; None: they have sizes of their own, or any.
        classes: How many images each class has; None: the labels are known only by decoding.
        decoded: How many images were decoded, to see whether they can be.
        faults: What was wrong with those that cannot.
    """

    images: int
    in_memory: bool
    shape: tuple[int, ...] | None
    classes: tuple[int, ...] | None
    decoded: int
    faults: tuple[str, ...]


def take_inventory(splits: Splits, decode_all: bool) -> dict[str, Part]:
    """Count what a data set holds.

    Args:
        splits: The data set.
        decode_all: Whether every image of a file is decoded; else at most 100 of each split.
    """
    parts = {"train": splits.train, "test": splits.test}
    return {name: _count(split, splits.num_classes, decode_all) for name, split in parts.items()}


def _count(split: Split, num_classes: int, decode_all: bool) -> Part:
    if isinstance(split, ArraySplit):
        counts = _count_labels(split.labels.tolist(), num_classes)
        return Part(len(split), True, tuple(split.images.shape[1:]), counts, 0, ())
    step = 1 if decode_all else max(1, -(-len(split) // SAMPLE))
    indices = range(0, len(split), step)
    # Around all threads: filters are those of the process, and what one thread puts back, another
    # may still need.
    with warnings.catch_warnings(action="ignore"):
        found = list(_decode(split, indices))
    labels = getattr(split, "labels", None)
    if labels is None and decode_all:
        labels = [label for label in found if isinstance(label, int)]
    return Part(
        images=len(split),
        in_memory=False,
        shape=None,
        classes=None if labels is None else _count_labels(labels, num_classes),
        decoded=len(indices),
        faults=tuple(fault for fault in found if isinstance(fault, str)),
    )


def _count_labels(labels: Sequence[int], num_classes: int) -> tuple[int, ...]:
    counts = torch.bincount(torch.as_tensor(labels, dtype=torch.int64), minlength=num_classes)
    return tuple(counts.tolist())


def _decode(split: ImageSplit, indices: Sequence[int]) -> Iterator[int | str]:
    """Yield the label of each image, or what is wrong with it; Pillow lets threads decode."""

    def decode(index: int) -> int | str:
        try:
            return int(split[index][1])
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(indices), IMAGES_AT_ONCE):
            yield from threads.map(decode, indices[start : start + IMAGES_AT_ONCE])
