"""Batches of images on the device: of a data set in memory, or decoded from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from qcli.training.augment import add_frame, draw_epoch, map_pixels, parse_augmentations
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
        self.constants = [_as_planes(each).to(device) for each in find_affine(normalization)]
        self.spread = self.constants
        self.channels_last = channels_last

    def __call__(self, images: Tensor) -> Tensor:
        """Normalize a batch."""
        planes = images.permute(0, 3, 1, 2)
        # Bytes are moved, and one tensor of floats is made: memory is what costs time here.
        batch = (planes if self.channels_last else planes.contiguous()).float()
        if self.spread[0].shape != batch.shape[1:]:
            self.spread = [_spread(each, batch) for each in self.constants]
        factor, offset = self.spread
        # One channel may become as many as there are constants.
        out = batch if factor.shape == batch.shape[1:] else None
        return torch.addcmul(offset, batch, factor, out=out)


def _spread(constants: Tensor, batch: Tensor) -> Tensor:
    """Repeat constants over the pixels of an image: broadcasting takes five times as long."""
    if len(constants) in (1, batch.shape[1]):
        return torch.empty_like(batch[0]).copy_(constants)
    return constants.expand(-1, *batch.shape[2:]).contiguous()


def _as_planes(constants: Tensor) -> Tensor:
    """Return constants [H, W, C], [C] or [] as [C, H, W] or [C, 1, 1]."""
    return constants.permute(2, 0, 1) if constants.ndim == 3 else constants.reshape(-1, 1, 1)


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
        self.augmentations = parse_augmentations(augment)
        images = split.images.permute(0, 2, 3, 1).to(process.device)
        self.height, self.width = images.shape[1:3]
        self.framed = add_frame(images) if augment else None
        self.images = images.contiguous() if self.framed is None else images.new_empty(0)
        self.labels = split.labels.to(process.device)
        self.division = division
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
        if self.framed is None:
            return self.normalizer(self.images[indices])
        pixels = map_pixels(self.augmentations, draws, self.height, self.width)
        return self.normalizer(pixels.pick(self.framed, indices))


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
