"""Flips and colors of photographs, for whole batches on the device; draws as in `augment`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qcli.training.lighting import EIGENVALUES, EIGENVECTORS

# The weights of red, green and blue in torchvision's rgb_to_grayscale.
GRAY = (0.2989, 0.587, 0.114)

Draw = Callable[[int, torch.Generator], Tensor]
# What becomes of images uint8 [B, H, W, 3], given the batch's part of the draws.
Change = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Coloring:
    """One augmentation: what it draws for each image, and what it does with that."""

    draw: Draw
    change: Change


def random_flip() -> Coloring:
    """Mirror every second image."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(2, (count,), generator=generator)

    return Coloring(draw, flip)


def color_jitter(strength: float) -> Coloring:
    """Change brightness, contrast and saturation by up to `strength`, in any order."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        factors = 1 + strength * (2 * torch.rand(count, 3, generator=generator) - 1)
        order = torch.rand(count, 3, generator=generator).argsort(1)
        return torch.cat([order.float(), factors], dim=1)

    return Coloring(draw, jitter)


def random_lighting(std: float) -> Coloring:
    """Add a random color along the principal components of natural images, as `Lighting` does."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        amounts = std * torch.randn(count, 3, generator=generator) * torch.tensor(EIGENVALUES)
        return amounts @ torch.tensor(EIGENVECTORS).T

    return Coloring(draw, light)


def flip(images: Tensor, coins: Tensor) -> Tensor:
    """Mirror the images whose coin, int64 [B], is 1."""
    return torch.where(coins.bool()[:, None, None, None], images.flip(2), images)


def jitter(images: Tensor, draws: Tensor) -> Tensor:
    """Blend each image with black, its mean gray and its gray, in its own order.

    Args:
        images: uint8 [B, H, W, 3].
        draws: float32 [B, 6]: an order of brightness 0, contrast 1 and saturation 2, then the
            factor of each. The result is cut to whole numbers after each, as in torchvision.
    """
    order, factors = draws[:, :3].long(), draws[:, 3:]
    pixels = images.float()
    for kinds in order.unbind(1):
        factor = factors.gather(1, kinds[:, None])[:, :, None, None]
        other = _blend_with(pixels, kinds[:, None, None, None])
        pixels = (pixels * factor + other * (1 - factor)).clamp_(0, 255).floor_()
    return pixels.byte()


def _blend_with(pixels: Tensor, kinds: Tensor) -> Tensor:
    red, green, blue = pixels.unbind(3)
    gray = (red * GRAY[0] + green * GRAY[1] + blue * GRAY[2]).floor_()[..., None]
    mean = gray.mean((1, 2, 3), keepdim=True)
    return torch.where(kinds == 2, gray, torch.where(kinds == 1, mean, 0.0))


def light(images: Tensor, colors: Tensor) -> Tensor:
    """Add a color, float32 [B, 3] for images in [0, 1], to every pixel of its image."""
    lit = images.float() + 255 * colors[:, None, None, :]
    return lit.round_().clamp_(0, 255).byte()
