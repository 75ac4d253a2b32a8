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

GATHERS = ("flip", "pad_crop_", "shift_")


@dataclass(frozen=True)
class PixelMap:
    """Where every pixel of a batch comes from.

    Args:
        rows: int64 [B, H], source row.
        columns: int64 [B, W], source column.
        inside: bool [B, H, W]; False: black.
    """

    rows: Tensor
    columns: Tensor
    inside: Tensor

    def pick(self, images: Tensor, indices: Tensor) -> Tensor:
        """Gather images [N, H, W, C] into a batch [B, H, W, C]."""
        batch = images[indices[:, None, None], self.rows[:, :, None], self.columns[:, None, :]]
        return batch * self.inside[..., None]


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
        torch.ones(size, height, width, dtype=torch.bool, device=device),
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
    columns = torch.where(heads, pixels.columns.flip(1), pixels.columns)
    inside = torch.where(heads[:, None], pixels.inside.flip(2), pixels.inside)
    return PixelMap(pixels.rows, columns, inside)


def _move_edge(pixels: PixelMap, offsets: Tensor) -> PixelMap:
    """Shift by the offsets; the edge is repeated."""
    return _move(pixels, offsets)[0]


def _move_black(pixels: PixelMap, offsets: Tensor) -> PixelMap:
    """Shift by the offsets; black moves in, as when a padded image is cropped."""
    moved, covered = _move(pixels, offsets)
    return PixelMap(moved.rows, moved.columns, moved.inside & covered)


def _move(pixels: PixelMap, offsets: Tensor) -> tuple[PixelMap, Tensor]:
    _, height, width = pixels.inside.shape
    down = torch.arange(height, device=offsets.device) + offsets[:, :1]
    right = torch.arange(width, device=offsets.device) + offsets[:, 1:]
    y, x = down.clamp(0, height - 1), right.clamp(0, width - 1)
    places = torch.arange(len(y), device=y.device)[:, None, None]
    inside = pixels.inside[places, y[:, :, None], x[:, None, :]]
    covered = (down == y)[:, :, None] & (right == x)[:, None, :]
    moved = PixelMap(pixels.rows.gather(1, y), pixels.columns.gather(1, x), inside)
    return moved, covered
