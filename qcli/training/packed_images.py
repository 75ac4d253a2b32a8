"""The images of a pack, read from memory-mapped files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from qcli.errors import DataError
from qcli.training.jpeg_size import read_jpeg_size
from qcli.training.shard import PACK_AGAIN, map_content, read_index

# Of a JPEG file, as much as holds its tables.
_BEGINNING = 4096


@dataclass(frozen=True)
class PackedImages:
    """Photographs of a pack: an ImageSplit whose images threads can read as tensors.

    Args:
        paths: Of the shards.
        places: int64 [N, 3]: the shard, and where in it an image starts and stops.
        sizes: int64 [N, 2], height and width.
        labels: int64 [N].
        size: The shorter side that images were brought to, where they were larger.
        is_raw: Whether pixels are stored; else JPEG files.
    """

    paths: Sequence[Path]
    places: Tensor
    sizes: Tensor
    labels: Tensor
    size: int
    is_raw: bool
    contents: dict[int, Tensor] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        # Here, so that runs without photographs start without torchvision.
        from torchvision.transforms.v2.functional import to_pil_image

        return to_pil_image(self.pixels(index)), int(self.labels[index])

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the files again; else it would be sent their content.
        return {**self.__dict__, "contents": {}}

    def pixels(self, index: int) -> Tensor:
        """Return image `index`, uint8 [3, H, W]; it may be a view of the file.

        Raises:
            DataError: It is damaged.
        """
        shard, start, stop = self.places[index].tolist()
        content = self._content(shard)[start:stop]
        height, width = self.sizes[index].tolist()
        try:
            pixels = self._decode(content, height, width)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._damage(shard, start, str(error)) from error
        if pixels.shape != (3, height, width):
            raise self._damage(shard, start, "its size is not that of the index")
        return pixels

    def _decode(self, content: Tensor, height: int, width: int) -> Tensor:
        if self.is_raw:
            return content.view(height, width, 3).permute(2, 0, 1)
        from qcli.training.jpeg import decode_jpeg

        # A decoder makes room for what the file says; the index has been checked.
        if read_jpeg_size(content[:_BEGINNING].numpy().tobytes()) != (height, width):
            raise ValueError("its size is not that of the index")
        return decode_jpeg(content)

    def _damage(self, shard: int, start: int, text: str) -> DataError:
        where = f"{self.paths[shard]}: the image at byte {start}"
        return DataError(f"{where} cannot be decoded: {text}; {PACK_AGAIN}")

    def _content(self, shard: int) -> Tensor:
        if shard not in self.contents:
            self.contents[shard] = map_content(self.paths[shard])
        return self.contents[shard]

    def select(self, indices: Tensor) -> PackedImages:
        """Return the images at `indices`, int64 [M]."""
        return replace(
            self,
            places=self.places[indices],
            sizes=self.sizes[indices],
            labels=self.labels[indices],
        )


def open_images(paths: Sequence[Path], size: int, is_raw: bool, num_classes: int) -> PackedImages:
    """Read the indices of shards; arguments as for PackedImages.

    Raises:
        DataError: A file is missing or damaged.
    """
    indices = [read_index(path, size, num_classes) for path in paths]
    places = [_place(shard, index.stops) for shard, index in enumerate(indices)]
    return PackedImages(
        paths,
        torch.cat(places),
        torch.cat([index.sizes for index in indices]),
        torch.cat([index.labels for index in indices]),
        size,
        is_raw,
    )


def _place(shard: int, stops: Tensor) -> Tensor:
    starts = torch.cat([stops.new_zeros(1), stops[:-1]])
    return torch.stack([torch.full_like(stops, shard), starts, stops], dim=1)
