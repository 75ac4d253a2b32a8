"""What a data set hands over: training and test images, and how they are normalized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Image
from torch import Tensor


@dataclass(frozen=True)
class ArraySplit:
    """Images that fit in memory.

    Args:
        images: uint8 [N, C, H, W], values 0..255.
        labels: int64 [N], values 0..num_classes - 1.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class ImageSplit(Protocol):
    """Images that are decoded one by one: a map-style data set of (PIL image, label).

    Where it has all labels as `labels`, `qcli data check` counts classes without decoding.
    """

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> tuple[Image, int]:
        """Decode image `index`; the label is 0..num_classes - 1."""


Split = ArraySplit | ImageSplit


@dataclass(frozen=True)
class Normalization:
    """Per-channel constants for images scaled to [0, 1]: (image - mean) / std."""

    mean: Sequence[float]
    std: Sequence[float]


@dataclass(frozen=True)
class Splits:
    """A data set, ready for training.

    Args:
        train: The training images.
        test: The test images.
        num_classes: The number of classes.
        normalization: One mean and std for each channel; None: images stay in [0, 1].
        class_names: In the order of the labels, where they are known.
    """

    train: Split
    test: Split
    num_classes: int
    normalization: Normalization | None = None
    class_names: Sequence[str] = ()
