"""Images with a horizontal or a vertical bar, in any shape."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator

from qcli import ArraySplit, Splits

TEST_IMAGES = 128


def build_bars(
    root: Path | None, image_shape: tuple[int, int, int], *, train_images: int = 512
) -> Splits:
    """Draw the images; the same ones each time.

    Args:
        root: Of no use here: there are no files.
        image_shape: (C, H, W) that the network wants.
        train_images: How many images to train on.
    """
    generator = Generator().manual_seed(0)
    return Splits(
        train=_draw(train_images, image_shape, generator),
        test=_draw(TEST_IMAGES, image_shape, generator),
        num_classes=2,
        class_names=("horizontal", "vertical"),
    )


def _draw(count: int, image_shape: tuple[int, int, int], generator: Generator) -> ArraySplit:
    images = torch.randint(128, (count, *image_shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 2
    for image, label in zip(images, labels.tolist(), strict=True):
        length = image_shape[1 + label]
        place = int(torch.randint(length, (), generator=generator))
        image.select(1 + label, place).fill_(255)
    return ArraySplit(images, labels)
