"""The digits of scikit-learn: real images that need no files."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits

from qcli import ArraySplit, Normalization, Splits
from qcli_datasets.resizing import ImageShape, resize_images

NUM_CLASSES = 10
NUM_TRAIN_IMAGES = 1437
LARGEST_VALUE = 16
MEAN, STD = 0.3053, 0.3760


def build_digits(root: Path | None, image_shape: ImageShape, *, split: str = "random") -> Splits:
    """Load the digits in the shape that is asked for.

    Args:
        root: Of no use here.
        image_shape: (C, H, W) that the images are resized to.
        split: `random` draws the test images; `writer` takes the last 360, whose writers are not
            in the training set.
    """
    digits = load_digits()
    values = torch.from_numpy(digits.images) * (255 / LARGEST_VALUE)
    images = resize_images(values.round().to(torch.uint8).unsqueeze(1), image_shape)
    labels = torch.from_numpy(digits.target).long()
    order = torch.arange(len(labels))
    if split == "random":
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:NUM_TRAIN_IMAGES], order[NUM_TRAIN_IMAGES:]
    channels = image_shape[0]
    return Splits(
        train=ArraySplit(images[train], labels[train]),
        test=ArraySplit(images[test], labels[test]),
        num_classes=NUM_CLASSES,
        normalization=Normalization((MEAN,) * channels, (STD,) * channels),
        class_names=tuple(str(digit) for digit in range(NUM_CLASSES)),
    )
