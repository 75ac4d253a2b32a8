"""The labels of images in memory, checked against the images and the classes."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from qcli import DataError
from qcli_datasets.file_set import RENEW


def make_labels(path: Path, values: Sequence[object], num_images: int, num_classes: int) -> Tensor:
    """Return the labels read from `path` as int64 [N].

    Raises:
        DataError: There is not one label for each image, or one is not in 0..num_classes - 1.
    """
    if len(values) != num_images:
        raise DataError(
            f"{path}: holds {len(values)} labels for {num_images} images; expected one for each; "
            f"{RENEW}"
        )
    for index, value in enumerate(values):
        if type(value) is not int or not 0 <= value < num_classes:
            raise DataError(
                f"{path}: the label of image {index} is {reprlib.repr(value)}; "
                f"expected 0..{num_classes - 1}; {RENEW}"
            )
    return torch.tensor(values, dtype=torch.int64)
