"""JPEG files in memory: what a pack stores of a photograph."""

from __future__ import annotations

import io
from typing import Any, cast

import torch
import torchvision.io  # noqa: F401  registers torch.ops.image
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

# torchvision.io.ImageReadMode.RGB
RGB = 3


def encode_jpeg(image: Tensor, quality: int) -> Tensor:
    """Return uint8 [3, H, W] as the bytes of a JPEG file, uint8 [N]; quality is 1..95."""
    file = io.BytesIO()
    to_pil_image(image).save(file, "JPEG", quality=quality)
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def decode_jpeg(content: Tensor) -> Tensor:
    """Return what the bytes of a JPEG file show, uint8 [3, H, W]; threads may call it.

    Pillow gives the same pixels, but takes 30 % longer and holds Python's lock for twice the time.
    The public function of torchvision is deprecated and will go: then Pillow decodes.

    Raises:
        OSError, RuntimeError: The content is damaged.
    """
    decode: Any = getattr(torch.ops.image, "decode_jpeg", None)
    return cast(Tensor, decode(content, RGB, False)) if decode else decode_by_pillow(content)


def decode_by_pillow(content: Tensor) -> Tensor:
    """Return what `decode_jpeg` returns."""
    with Image.open(io.BytesIO(content.numpy().tobytes())) as image:
        return cast(Tensor, pil_to_tensor(image.convert("RGB")))
