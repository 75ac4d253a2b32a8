"""Images that are decoded one by one from files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from qcli import DataError


class ImageFiles:
    """The images below one folder, as a map-style data set of (RGB image, label).

    Args:
        folder: What the names are relative to.
        names: Of the files.
        labels: One for each file.
    """

    def __init__(self, folder: Path, names: Sequence[str], labels: Sequence[int]) -> None:
        self.folder = folder
        # Arrays, not lists: a million Python strings take several times the memory, and each
        # worker process would copy them by counting references.
        self.names = np.array([os.fsencode(name) for name in names])
        self.labels = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path = self.folder / os.fsdecode(self.names[index])
        return decode_image(path, str(path)), int(self.labels[index])

    def select(self, indices: Sequence[int]) -> ImageFiles:
        """Return the images at `indices`."""
        names = [os.fsdecode(self.names[index]) for index in indices]
        return ImageFiles(self.folder, names, self.labels[indices].tolist())


def check_color(dataset: str, image_shape: tuple[int, ...]) -> None:
    """Check that images of three channels are asked for, which is what decoding gives.

    Raises:
        DataError: Another number is asked for.
    """
    if image_shape[0] != 3:
        raise DataError(
            f"{dataset}: photographs have 3 channels, found {image_shape[0]}; remove "
            '"channels" from the dataset'
        )


def decode_image(file: Path | BinaryIO, name: str) -> Image.Image:
    """Decode an image of any color mode to RGB; transparency is dropped.

    Args:
        file: Its path, or its content.
        name: What messages call it.

    Raises:
        DataError: The file is missing, damaged, or no image.
    """
    try:
        # Some files of ImageNet have harmless faults in their metadata, which Pillow warns of.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            return _convert_to_rgb(image)
    except Exception as error:  # Pillow's decoders raise anything on damaged files
        raise DataError(
            f"{name}: cannot be decoded as an image: {error}; copy the file again, or delete it"
        ) from error


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow cuts 16-bit values off at 255 instead of scaling them.
        values = np.asarray(image).astype(np.int64) // 256
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
