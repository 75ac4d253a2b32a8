"""Images made from random numbers, in any shape, which a small network can learn."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor

from qcli import ArraySplit, Splits
from qcli_datasets.resizing import ImageShape, resize_images

PATTERN_SIZE = (4, 4)
GRAY, CONTRAST = 128, 32


def build_synthetic(
    root: Path | None,
    image_shape: ImageShape,
    *,
    num_classes: int = 10,
    train_images: int = 1024,
    test_images: int = 256,
    noise: float = 0.75,
    seed: int = 0,
) -> Splits:
    """Draw a smooth pattern for each class; an image is its class's pattern with smooth noise.

    The noise is as smooth as the patterns: noise of single pixels would average out, and large
    images would be easier than small ones.

    Args:
        root: Of no use here.
        image_shape: (C, H, W) of the images.
        num_classes: At least 2.
        train_images: The number of training images.
        test_images: The number of test images.
        noise: The strength of the noise as a multiple of the strength of the patterns.
        seed: Another number makes other patterns and images.
    """
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(num_classes, image_shape[0], *PATTERN_SIZE, generator=generator)
    # Drawn first, so that the test images are the same for any number of training images.
    test = _draw_split(patterns, test_images, noise, image_shape, generator)
    train = _draw_split(patterns, train_images, noise, image_shape, generator)
    return Splits(train, test, num_classes)


def _draw_split(
    patterns: Tensor, count: int, noise: float, image_shape: ImageShape, generator: Generator
) -> ArraySplit:
    labels = torch.arange(count) % len(patterns)
    disturbances = torch.randn(count, *patterns.shape[1:], generator=generator)
    values = GRAY + CONTRAST * (patterns[labels] + noise * disturbances)
    images = values.round().clamp(0, 255).to(torch.uint8)
    return ArraySplit(resize_images(images, image_shape), labels)
