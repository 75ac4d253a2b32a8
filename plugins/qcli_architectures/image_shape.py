"""The shape of the images that a network is built for; images too small for it are refused."""

from __future__ import annotations

import qcli

ImageShape = tuple[int, int, int]  # channels, height, width


def format_shape(image_shape: ImageShape) -> str:
    """Return `1x28x28` for (1, 28, 28)."""
    return "x".join(str(length) for length in image_shape)


def check_image_size(network: str, image_shape: ImageShape, smallest: int) -> None:
    """Refuse images with fewer than `smallest` pixels in height or width.

    Raises:
        UsageError: Names the network, the shape found, and the smallest shape allowed.
    """
    channels, height, width = image_shape
    if min(height, width) < smallest:
        raise qcli.UsageError(
            f"{network}: images of {format_shape(image_shape)} are too small; the smallest allowed "
            f"are {format_shape((channels, smallest, smallest))}. Enlarge them: "
            f"--set dataset.image_size={smallest}, or choose another network: "
            "`qcli list architectures`"
        )


def count_places(length: int, kernel: int, stride: int = 1, padding: int = 0) -> int:
    """Return how many places a window has along a side of `length` pixels."""
    return (length + 2 * padding - kernel) // stride + 1
