"""Where on a photograph the network looks: a box, resized, and a window of that; in batches.

The boxes of all images are drawn at once, and from the distributions that torchvision draws from
one by one in `transforms`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# torchvision.transforms.v2.RandomResizedCrop: so often it tries, and between these ratios.
ATTEMPTS = 10
RATIOS = (3 / 4, 4 / 3)
# Uniform numbers for an image: areas, ratios, top, left.
DRAWS = 2 * ATTEMPTS + 2


class Cut(NamedTuple):
    """One row of cuts, in pixels.

    Args:
        top: First row of the box.
        left: First column of the box.
        height: Of the box.
        width: Of the box.
        resized_height: What the box is resized to.
        resized_width: What the box is resized to.
        y: First row of the window in the resized box.
        x: First column of the window in the resized box.
    """

    top: int
    left: int
    height: int
    width: int
    resized_height: int
    resized_width: int
    y: int
    x: int


# Makes cuts, int32 [N, 8], of images of sizes int64 [N, 2] with uniform draws float64 [N, DRAWS].
MakeCuts = Callable[[Tensor, Tensor], Tensor]


def random_resized_crop(size: tuple[int, int], least: float) -> MakeCuts:
    """Cut boxes of `least` to 1 of the area and of a ratio of 3/4 to 4/3, resized to `size`."""

    def make(sizes: Tensor, draws: Tensor) -> Tensor:
        boxes = _draw_boxes(sizes, draws, least)
        zeros = torch.zeros_like(sizes)
        return torch.cat([boxes, _constant(sizes, size), zeros], dim=1).int()

    return make


def resize_crop(size: tuple[int, int], side: int) -> MakeCuts:
    """Resize the shorter side to `side`; cut a window of `size` anywhere."""

    def make(sizes: Tensor, draws: Tensor) -> Tensor:
        resized = resize_shorter(sizes, side)
        room = resized - torch.tensor(size)
        return _whole(sizes, resized, _choose(draws[:, -2:], room))

    return make


def center_crop(size: tuple[int, int], side: int, squash: bool) -> MakeCuts:
    """Resize the shorter side, or both where `squash`, to `side`; cut the middle."""

    def make(sizes: Tensor, draws: Tensor) -> Tensor:
        resized = _constant(sizes, (side, side)) if squash else resize_shorter(sizes, side)
        # As torchvision: round(half the room), to the even number.
        room = (resized - torch.tensor(size)).double()
        return _whole(sizes, resized, (room / 2).round().long())

    return make


def resize_shorter(sizes: Tensor, side: int) -> Tensor:
    """Return int64 [N, 2], images of `sizes` whose shorter side is brought to `side`."""
    shorter = sizes.min(1, keepdim=True).values
    longer = (side * sizes).double() / shorter
    return torch.where(sizes == shorter, side, longer.long())


def _constant(sizes: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.tensor(size).expand(len(sizes), 2)


def _whole(sizes: Tensor, resized: Tensor, windows: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(sizes), sizes, resized, windows], dim=1).int()


def _choose(draws: Tensor, room: Tensor) -> Tensor:
    """Return whole numbers from 0 to `room`, all equally likely."""
    return (draws * (room + 1)).long().minimum(room)


def _draw_boxes(sizes: Tensor, draws: Tensor, least: float) -> Tensor:
    """Return top, left, height and width as int64 [N, 4]: the first box drawn that fits."""
    tall, wide = sizes[:, :1], sizes[:, 1:]
    areas = (tall * wide) * (least + (1 - least) * draws[:, :ATTEMPTS])
    low, high = (math.log(ratio) for ratio in RATIOS)
    ratios = (low + (high - low) * draws[:, ATTEMPTS : 2 * ATTEMPTS]).exp()
    heights, widths = (areas / ratios).sqrt().round().long(), (areas * ratios).sqrt().round().long()
    fits = (heights > 0) & (heights <= tall) & (widths > 0) & (widths <= wide)
    first = fits.byte().argmax(1, keepdim=True)
    drawn = torch.cat([heights.gather(1, first), widths.gather(1, first)], dim=1)
    offsets = _choose(draws[:, -2:], sizes - drawn)
    largest = _largest_boxes(sizes)
    middle = (sizes - largest) // 2
    return torch.where(
        fits.any(1, keepdim=True),
        torch.cat([offsets, drawn], dim=1),
        torch.cat([middle, largest], dim=1),
    )


def _largest_boxes(sizes: Tensor) -> Tensor:
    """Return the largest boxes of an allowed ratio, int64 [N, 2]."""
    heights, widths = sizes.unbind(1)
    ratios = widths.double() / heights
    low, high = RATIOS
    return torch.stack(
        [
            torch.where(ratios < low, (widths / low).round().long(), heights),
            torch.where(ratios > high, (heights * high).round().long(), widths),
        ],
        dim=1,
    )
