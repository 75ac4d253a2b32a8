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


def read_index(path: Path) -> ShardIndex:
    """Read where the images of a shard lie.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            index = ShardIndex(*(file.get_tensor(name) for name in ("stops", "sizes", "labels")))
            length = file.get_slice("content").get_shape()
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read: {error}; {PACK_AGAIN}") from error
    count = len(index.stops)
    shapes = [tuple(part.shape) for part in (index.stops, index.sizes, index.labels)]
    if shapes != [(count,), (count, 2), (count,)] or index.stops[-1:].tolist() != length:
        raise DataError(f"{path}: the index does not fit the images; {PACK_AGAIN}")
    return index


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
