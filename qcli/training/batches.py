"""Batches of images on the device: of a data set in memory, or decoded from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from qcli.training.augment import draw_epoch, map_pixels, parse_augmentations
from qcli.training.division import Division
from qcli.training.keyed import keyed_generator
from qcli.training.normalization import PixelNormalization, find_affine
from qcli.training.splits import ArraySplit, Normalization

# A global batch may be made for many devices; every process calibrates on the whole of one.
LARGEST_CALIBRATION_BATCH = 256


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass takes.

    Args:
        images: float32 [B, C, H, W], normalized.
        labels: int64 [B].
        weight: Factor on the mean loss.
    """

    images: Tensor
    labels: Tensor
    weight: float = 1.0


class TrainingBatches(Protocol):
    """A training set, step by step."""

    division: Division

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[MicroBatch]]:
        """Yield this process's micro-batches of each step of an epoch, from `first_step` on."""

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield the images of the first `count` whole batches of epoch 0, alike everywhere."""


class EvaluationBatches(Protocol):
    """A test or validation set."""

    num_images: int

    def __iter__(self) -> Iterator[MicroBatch]:
        """Yield this process's share, in order."""


def calibration_bounds(division: Division, count: int) -> list[tuple[int, int]]:
    """Return where each of the first `count` whole batches starts and stops.

    What is left at the end of the epoch may be a single image, which batch norms cannot take.
    """
    size = min(division.batch_size, LARGEST_CALIBRATION_BATCH, division.num_images)
    whole = min(count, division.num_images // size)
    return [(number * size, (number + 1) * size) for number in range(whole)]


@dataclass(frozen=True)
class Process:
    """Which of how many processes this is, and what it computes on."""

    index: int
    count: int
    device: torch.device


# Turns uint8 [B, H, W, C] into what a batch holds.
Normalize = Callable[[Tensor], Tensor]


class Normalizer:
    """Turns uint8 [B, H, W, C] into normalized float32 [B, C, H, W] on the device."""

    def __init__(
        self,
        normalization: Normalization | PixelNormalization | None,
        channels_last: bool,
        device: torch.device,
    ) -> None:
        factor, offset = find_affine(normalization)
        self.factor, self.offset = factor.to(device), offset.to(device)
        self.channels_last = channels_last

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize a batch."""
        batch = torch.addcmul(self.offset, images.float(), self.factor).permute(0, 3, 1, 2)
        return batch if self.channels_last else batch.contiguous()


class ResidentTraining:
    """A training set that lives on the device as uint8 and is augmented there."""

    def __init__(
        self,
        split: ArraySplit,
        division: Division,
        augment: Sequence[str],
        normalizer: Normalizer,
        seed: int,
        process: Process,
    ) -> None:
        self.images = split.images.permute(0, 2, 3, 1).contiguous().to(process.device)
        self.labels = split.labels.to(process.device)
        self.division = division
        self.augmentations = parse_augmentations(augment)
        self.normalizer = normalizer
        self.seed = seed
        self.process = process

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[MicroBatch]]:
        """Yield this process's micro-batches of each step of an epoch, from `first_step` on."""
        order, draws = self._draw(epoch)
        for step in range(first_step, self.division.num_steps):
            yield [
                MicroBatch(
                    self._images(order[part.start : part.stop], _cut(draws, part.start, part.stop)),
                    self.labels[order[part.start : part.stop]],
                    part.weight,
                )
                for part in self.division.parts(step, self.process.index)
            ]

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield the images of the first `count` whole batches of epoch 0, alike everywhere."""
        order, draws = self._draw(0)
        for start, stop in calibration_bounds(self.division, count):
            yield self._images(order[start:stop], _cut(draws, start, stop))

    def _draw(self, epoch: int) -> tuple[Tensor, list[Tensor]]:
        generator = keyed_generator(self.seed, epoch, "epoch")
        count = len(self.labels)
        order = torch.randperm(count, generator=generator)
        draws = draw_epoch(self.augmentations, count, generator)
        return order.to(self.process.device), [draw.to(self.process.device) for draw in draws]

    def _images(self, indices: Tensor, draws: list[Tensor]) -> Tensor:
        if not draws:
            return self.normalizer(self.images[indices])
        _, height, width, _ = self.images.shape
        pixels = map_pixels(self.augmentations, draws, height, width)
        return self.normalizer(pixels.pick(self.images, indices))


def _cut(draws: Sequence[Tensor], start: int, stop: int) -> list[Tensor]:
    return [draw[start:stop] for draw in draws]


class ResidentEvaluation:
    """A test set that lives on the device as uint8."""

    def __init__(
        self, split: ArraySplit, batch_size: int, normalizer: Normalize, process: Process
    ) -> None:
        self.num_images = len(split)
        share = torch.arange(process.index, self.num_images, process.count)
        self.images = split.images[share].permute(0, 2, 3, 1).contiguous().to(process.device)
        self.labels = split.labels[share].to(process.device)
        self.batch_size = batch_size
        self.normalizer = normalizer

    def __iter__(self) -> Iterator[MicroBatch]:
        """Yield this process's share, in order."""
        for start in range(0, len(self.labels), self.batch_size):
            stop = start + self.batch_size
            yield MicroBatch(self.normalizer(self.images[start:stop]), self.labels[start:stop])
