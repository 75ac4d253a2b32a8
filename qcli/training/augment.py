"""Augmentation of images in memory: whole batches on the device, by one gather.

What is drawn for an image depends on the seed, the epoch and its place in the epoch, never on the
process that draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

GATHERS = ("flip", "pad_crop_", "shift_")
CUTS = ("rrc", "rrc_sat", "resize_crop", "squash_center", "fbresnet")


@dataclass(frozen=True)
class FramedImages:
    """Images with a black row and column behind the last: what moves in.

    Args:
        pixels: uint8 [N * (H + 1) * (W + 1), C]; of three channels int32 [N * (H + 1) * (W + 1)],
            since four bytes are moved as one, and three one by one.
        height: H + 1.
        width: W + 1.
        channels: C.
    """

    pixels: Tensor
    height: int
    width: int
    channels: int

    def take(self, places: Tensor) -> Tensor:
        """Return the pixels at places [B, H, W] of all images: uint8 [B, H, W, C]."""
        picked = self.pixels.index_select(0, places.flatten())
        return picked.view(torch.uint8).view(*places.shape, -1)[..., : self.channels]


def add_frame(images: Tensor) -> FramedImages:
    """Frame images, uint8 [N, H, W, C]."""
    channels = images.shape[3]
    framed = functional.pad(images, (0, 1 if channels == 3 else 0, 0, 1, 0, 1))
    _, height, width, stored = framed.shape
    pixels = framed.view(-1, stored)
    pixels = pixels.view(torch.int32).flatten() if channels == 3 else pixels
    return FramedImages(pixels, height, width, channels)


@dataclass(frozen=True)
class PixelMap:
    """Where every pixel of a batch comes from.

    Args:
        rows: int64 [B, H], source row; H: black.
        columns: int64 [B, W], source column; W: black.
    """

    rows: Tensor
    columns: Tensor

    def pick(self, images: FramedImages, indices: Tensor) -> Tensor:
        """Gather images into a batch: uint8 [B, H, W, C]."""
        rows = (indices[:, None] * images.height + self.rows) * images.width
        # Half as wide an index is found half again as fast.
        dtype = torch.int32 if len(images.pixels) < 1 << 31 else torch.int64
        return images.take(rows.to(dtype)[:, :, None] + self.columns.to(dtype)[:, None, :])


# Draws for a whole epoch, and how a batch's part of them changes its pixel map.
Draw = Callable[[int, torch.Generator], Tensor]
Change = Callable[[PixelMap, Tensor], PixelMap]


@dataclass(frozen=True)
class Augmentation:
    """One augmentation: what it draws for each image, and what it does with that."""

    draw: Draw
    change: Change


def runs_on_device(augment: Sequence[str | Mapping[str, Any]]) -> bool:
    """Say whether all augmentations of a recipe only move pixels: then one gather does them."""
    return all(isinstance(item, str) and item.startswith(GATHERS) for item in augment)


def runs_in_threads(augment: Sequence[str | Mapping[str, Any]]) -> bool:
    """Say whether a recipe cuts photographs, then only flips: then threads decode packs."""
    return bool(augment) and augment[0] in CUTS and all(item == "flip" for item in augment[1:])


def parse_augmentations(names: Sequence[str]) -> list[Augmentation]:
    """Return the augmentations `flip`, `pad_crop_N` and `shift_N` by their names."""
    return [_parse(name) for name in names]


def _parse(name: str) -> Augmentation:
    if name == "flip":
        return Augmentation(_draw_coins, _flip)
    reach = int(name.rsplit("_", 1)[1])
    black = name.startswith("pad_crop")
    return Augmentation(_draw_offsets(reach), _move_black if black else _move_edge)


def draw_epoch(
    augmentations: Sequence[Augmentation], count: int, generator: torch.Generator
) -> list[Tensor]:
    """Draw for every place of an epoch: one int64 [count] or [count, 2] per augmentation."""
    return [augmentation.draw(count, generator) for augmentation in augmentations]


def map_pixels(
    augmentations: Sequence[Augmentation], draws: Sequence[Tensor], height: int, width: int
) -> PixelMap:
    """Return where the pixels of a batch come from, given the batch's part of the draws."""
    size, device = len(draws[0]), draws[0].device
    pixels = PixelMap(
        torch.arange(height, device=device).expand(size, height),
        torch.arange(width, device=device).expand(size, width),
    )
    for augmentation, drawn in zip(augmentations, draws, strict=True):
        pixels = augmentation.change(pixels, drawn)
    return pixels


def _draw_coins(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (count,), generator=generator)


def _draw_offsets(reach: int) -> Draw:
    def draw(count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(2 * reach + 1, (count, 2), generator=generator) - reach

    return draw


def _flip(pixels: PixelMap, coins: Tensor) -> PixelMap:
    heads = coins.bool()[:, None]
    return PixelMap(pixels.rows, torch.where(heads, pixels.columns.flip(1), pixels.columns))


def _move_edge(pixels: PixelMap, offsets: Tensor) -> PixelMap:
    """Shift by the offsets; the edge is repeated."""
    return PixelMap(
        _shift(pixels.rows, offsets[:, :1])[0], _shift(pixels.columns, offsets[:, 1:])[0]
    )


def _move_black(pixels: PixelMap, offsets: Tensor) -> PixelMap:
    """Shift by the offsets; black moves in, as when a padded image is cropped."""
    moved = []
    for lines, by in ((pixels.rows, offsets[:, :1]), (pixels.columns, offsets[:, 1:])):
        shifted, covered = _shift(lines, by)
        moved.append(torch.where(covered, shifted, lines.shape[1]))
    return PixelMap(*moved)


def _shift(lines: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    """Return the source of each line after a shift, and whether there is one."""
    wanted = torch.arange(lines.shape[1], device=by.device) + by
    there = wanted.clamp(0, lines.shape[1] - 1)
    return lines.gather(1, there), wanted == there
