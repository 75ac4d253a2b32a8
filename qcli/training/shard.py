"""A shard: one file of many packed images, which is mapped into memory.

It is a safetensors file. `content` is uint8 [bytes], image after image: JPEG files, or pixels
[H, W, 3] row by row. `stops` is int64 [N], where each image ends in it; `sizes` int64 [N, 2] is
(H, W); `labels` is int64 [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from qcli.errors import DataError
from qcli.training.durable import write_atomically

# Of a JPEG file.
LONGEST_SIDE = 65535
PACK_AGAIN = "copy the file again, or pack the data set again"


@dataclass(frozen=True)
class ShardIndex:
    """Where the images of a shard lie, and what they are.

    Args:
        stops: int64 [N], one after the last byte of each image.
        sizes: int64 [N, 2], height and width.
        labels: int64 [N].
    """

    stops: Tensor
    sizes: Tensor
    labels: Tensor


def write_shard(
    path: Path, contents: Sequence[Tensor], sizes: Sequence[Tensor], labels: Sequence[Tensor]
) -> None:
    """Write a shard of images; it is there whole or not at all.

    Args:
        path: Of the file.
        contents: uint8 [bytes] for each image.
        sizes: int64 [2] for each image, height and width.
        labels: int64 [] for each image.
    """
    tensors = {
        "content": torch.cat([*contents]),
        "stops": torch.tensor([len(content) for content in contents]).cumsum(0),
        "sizes": torch.stack([*sizes]),
        "labels": torch.stack([*labels]),
    }
    write_atomically(path, lambda beside: save_file(tensors, beside))


def read_index(path: Path, size: int, num_classes: int) -> ShardIndex:
    """Read where the images of a shard lie.

    Args:
        path: Of the file.
        size: The greatest shorter side of an image.
        num_classes: Labels are below it.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            index = ShardIndex(*(file.get_tensor(name) for name in ("stops", "sizes", "labels")))
            length = file.get_slice("content").get_shape()
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read: {error}; {PACK_AGAIN}") from error
    if not (_fits(index, length) and _is_in_range(index, size, num_classes)):
        raise DataError(f"{path}: the index does not fit the images; {PACK_AGAIN}")
    return index


def _fits(index: ShardIndex, length: list[int]) -> bool:
    parts = (index.stops, index.sizes, index.labels)
    count = index.stops.numel()
    shapes = [tuple(part.shape) for part in parts]
    known = shapes == [(count,), (count, 2), (count,)]
    known &= all(part.dtype == torch.int64 for part in parts)
    return known and index.stops[-1:].tolist() == length


def _is_in_range(index: ShardIndex, size: int, num_classes: int) -> bool:
    """Say whether images follow each other, and sizes and labels can be."""
    starts = torch.cat([index.stops.new_zeros(1), index.stops[:-1]])
    sides, labels = index.sizes, index.labels
    follow = bool((index.stops > starts).all())
    sized = bool(((sides >= 1) & (sides <= LONGEST_SIDE)).all())
    shorter = bool((sides.min(1).values <= size).all())
    return follow and sized and shorter and bool(((labels >= 0) & (labels < num_classes)).all())


def map_content(path: Path) -> Tensor:
    """Map the images of a shard into memory, uint8 [bytes]: pages are read when they are needed.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            content: Tensor = file.get_tensor("content")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read: {error}; {PACK_AGAIN}") from error
    return content
