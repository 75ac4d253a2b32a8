"""Images in memory, brought to the shape that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from qcli import DataError

ImageShape = tuple[int, int, int]  # channels, height, width

FLOATS_AT_ONCE = 2**24


def resize_images(images: Tensor, image_shape: ImageShape) -> Tensor:
    """Resize bilinearly and repeat the channel of gray images.

    Args:
        images: uint8 [N, C, H, W].
        image_shape: (C, H, W) of the result; C may differ only where the images have one channel.

    Returns:
        uint8 [N, C, H, W], the images themselves where they have the shape already.
    """
    found = tuple(images.shape[1:])
    if found == image_shape:
        return images
    if found[0] not in (1, image_shape[0]):
        raise DataError(
            f"the data set has images of {found[0]} channels and the network takes "
            f"{image_shape[0]}; choose another data set: run `qcli list datasets`"
        )
    resized = torch.empty(len(images), *image_shape, dtype=torch.uint8)
    count = max(1, FLOATS_AT_ONCE // resized[0].numel())
    for start in range(0, len(images), count):
        part = slice(start, start + count)
        resized[part] = _interpolate(images[part], image_shape)
    return resized


def _interpolate(images: Tensor, image_shape: ImageShape) -> Tensor:
    # Antialiasing changes nothing but the images that shrink.
    size = image_shape[1:]
    return interpolate(images.float(), size, mode="bilinear", antialias=True).round()
