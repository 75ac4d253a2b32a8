"""What becomes of a photograph that is packed: decoded once, resized, and encoded again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import pil_to_tensor, resize

from qcli.errors import DataError
from qcli.training.jpeg import encode_jpeg
from qcli.training.pack import Source
from qcli.training.splits import ImageSplit
from qcli.training.streaming import count_workers, tell_worker_error

IMAGES_AT_ONCE = 32

# Content, size and label of an image: uint8 [bytes], int64 [2], int64 [].
Encoded = tuple[Tensor, Tensor, Tensor]
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def encode_images(
    split: ImageSplit, indices: Sequence[int], source: Source, workers: int | None
) -> Iterator[Encoded]:
    """Yield what is stored of the images at `indices`, in this order.

    Args:
        split: The photographs.
        indices: Which of them.
        source: How they are packed.
        workers: Processes that decode; None: one for each core; 0: this one.

    Raises:
        DataError: One cannot be decoded.
    """
    loader = DataLoader(
        _Encoder(split, source),
        batch_size=IMAGES_AT_ONCE,
        sampler=indices,
        num_workers=count_workers(workers, 1),
        collate_fn=_join,
        # Else a seed is drawn from the generator of everything else.
        generator=torch.Generator(),
    )
    try:
        for content, lengths, sizes, labels in loader:
            yield from zip(content.split(lengths.tolist()), sizes, labels, strict=True)
    except (DataError, RuntimeError) as error:
        raise tell_worker_error(error, "--workers 1") from None


def shrink(image: Image, size: int) -> Tensor:
    """Bring the shorter side of a photograph to `size` where it is longer: uint8 [3, H, W]."""
    pixels: Tensor = pil_to_tensor(image.convert("RGB"))
    if min(pixels.shape[1:]) > size:
        pixels = resize(pixels, [size], antialias=True)
    return pixels


class _Encoder(Dataset[Encoded]):
    def __init__(self, split: ImageSplit, source: Source) -> None:
        self.split = split
        self.source = source

    def __getitem__(self, index: int) -> Encoded:
        with warnings.catch_warnings(action="ignore"):
            # A broken EXIF block is no reason to fail: the pixels are good.
            image, label = self.split[index]
        pixels = shrink(image, self.source.size)
        return self._encode(pixels), torch.tensor(pixels.shape[1:]), torch.tensor(int(label))

    def _encode(self, pixels: Tensor) -> Tensor:
        if self.source.quality is None:
            return pixels.permute(1, 2, 0).flatten()
        return encode_jpeg(pixels, self.source.quality)


def _join(images: Sequence[Encoded]) -> Batch:
    """Join what a worker sends: each tensor takes a file descriptor on its way."""
    contents, sizes, labels = zip(*images, strict=True)
    lengths = torch.tensor([len(content) for content in contents])
    return torch.cat(contents), lengths, torch.stack(sizes), torch.stack(labels)
