"""Batches of packed photographs: decoded by threads, flipped and colored on the device.

Images come in the order, and from the distributions, of those that worker processes decode from
files; what is drawn for an image depends on the seed, the epoch and its place in the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from qcli.errors import DataError
from qcli.training.batches import MicroBatch, Normalize, Process, calibration_bounds
from qcli.training.coloring import Coloring, color_jitter, random_flip, random_lighting
from qcli.training.cuts import DRAWS, MakeCuts, center_crop, random_resized_crop, resize_crop
from qcli.training.decoding import Decoder, Request
from qcli.training.division import Division
from qcli.training.keyed import keyed_generator
from qcli.training.packed_images import PackedImages
from qcli.training.transforms import resized_side

# 12 MB of draws: those of a million images at once would take 230.
DRAWN_AT_ONCE = 2**16


@dataclass(frozen=True)
class PackedAugmentation:
    """What is done to a packed photograph in training.

    Args:
        make_cuts: Makes the cuts of images of given sizes.
        interpolation: How they are resized.
        colorings: What is done to the batch on the device, in order.
    """

    make_cuts: MakeCuts
    interpolation: v2.InterpolationMode
    colorings: tuple[Coloring, ...]


def make_packed_augmentation(
    augment: Sequence[str], size: tuple[int, int], interpolation: str
) -> PackedAugmentation:
    """Return how the augmentations of a recipe that `runs_in_threads` are done."""
    side = resized_side(size, None)
    make_cuts = {
        "rrc": random_resized_crop(size, 0.08),
        "rrc_sat": random_resized_crop(size, 0.2),
        "resize_crop": resize_crop(size, side),
        "squash_center": center_crop(size, side, squash=True),
        "fbresnet": random_resized_crop(size, 0.08),
    }[augment[0]]
    flips = (random_flip(),) * (len(augment) - 1)
    if augment[0] == "fbresnet":
        colors = (color_jitter(0.4), random_lighting(0.1), random_flip())
        return PackedAugmentation(make_cuts, v2.InterpolationMode.BICUBIC, colors + flips)
    return PackedAugmentation(make_cuts, v2.InterpolationMode(interpolation), flips)


class PackedTraining:
    """A training set of packed photographs."""

    def __init__(
        self,
        split: PackedImages,
        division: Division,
        augment: Sequence[str],
        size: tuple[int, int],
        interpolation: str,
        normalizer: Normalize,
        seed: int,
        workers: int | None,
        process: Process,
    ) -> None:
        self.split = split
        self.division = division
        self.augmentation = make_packed_augmentation(augment, size, interpolation)
        self.normalizer = normalizer
        self.seed = seed
        self.process = process
        mode = self.augmentation.interpolation
        self.decoder = Decoder(split, size, mode, workers, process.count, process.device)

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[MicroBatch]]:
        """Yield this process's micro-batches of each step of an epoch, from `first_step` on."""
        drawn = _Epoch(self.split, self.augmentation, self.seed, epoch)
        steps = range(first_step, self.division.num_steps)
        parts = [part for step in steps for part in self.division.parts(step, self.process.index)]
        bounds = [(part.start, part.stop) for part in parts]
        weights = (part.weight for part in parts)
        images = self._images(drawn, bounds)
        labels = (self.split.labels[drawn.order[start:stop]] for start, stop in bounds)
        batches = (
            MicroBatch(batch, own.to(self.process.device), weight)
            for batch, own, weight in zip(images, labels, weights, strict=True)
        )
        for _ in steps:
            yield [next(batches) for _ in range(self.division.accumulate)]

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield the images of the first `count` whole batches of epoch 0, alike everywhere."""
        drawn = _Epoch(self.split, self.augmentation, self.seed, 0)
        return self._images(drawn, calibration_bounds(self.division, count))

    def _images(self, drawn: _Epoch, bounds: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        requests = [
            Request(drawn.order[start:stop], drawn.cuts[start:stop]) for start, stop in bounds
        ]
        decoded = self.decoder.decode(requests)
        for batch, (start, stop) in zip(decoded, bounds, strict=True):
            images = batch
            for coloring, draws in zip(self.augmentation.colorings, drawn.colors, strict=True):
                images = coloring.change(images, draws[start:stop].to(images.device))
            yield self.normalizer(images)


class _Epoch:
    """What is drawn for an epoch, by place in it."""

    def __init__(
        self, split: PackedImages, augmentation: PackedAugmentation, seed: int, epoch: int
    ) -> None:
        generator = keyed_generator(seed, epoch, "epoch")
        count = len(split)
        self.order = torch.randperm(count, generator=generator)
        self.colors = [each.draw(count, generator) for each in augmentation.colorings]
        self.cuts = torch.cat(
            [
                augmentation.make_cuts(sizes, _draw(len(sizes), generator))
                for sizes in torch.split(split.sizes[self.order], DRAWN_AT_ONCE)
            ]
        )


def _draw(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, DRAWS, generator=generator, dtype=torch.float64)


class PackedEvaluation:
    """A test set of packed photographs, resized and cut as `evaluation_transform` does."""

    def __init__(
        self,
        split: PackedImages,
        batch_size: int,
        size: tuple[int, int],
        side: int,
        crop: str,
        interpolation: str,
        normalizer: Normalize,
        workers: int | None,
        process: Process,
    ) -> None:
        _require_size(split, side)
        self.num_images = len(split)
        self.split = split.select(torch.arange(process.index, self.num_images, process.count))
        self.batch_size = batch_size
        self.make_cuts = center_crop(size, side, squash=crop == "squash_center")
        self.normalizer = normalizer
        self.process = process
        mode = v2.InterpolationMode(interpolation)
        self.decoder = Decoder(self.split, size, mode, workers, process.count, process.device)

    def __iter__(self) -> Iterator[MicroBatch]:
        """Yield this process's share, in order."""
        sizes = self.split.sizes
        # Nothing is random here.
        cuts = self.make_cuts(sizes, sizes.new_zeros(len(sizes), DRAWS))
        shares = torch.split(torch.arange(len(sizes)), self.batch_size)
        requests = [Request(share, cuts[share]) for share in shares if len(share)]
        labels = (self.split.labels[request.indices] for request in requests)
        for batch, own in zip(self.decoder.decode(requests), labels, strict=True):
            yield MicroBatch(self.normalizer(batch), own.to(self.process.device))


def _require_size(split: PackedImages, side: int) -> None:
    """Refuse to enlarge all test images."""
    if split.size < side:
        raise DataError(
            f"{split.paths[0].parent}: images were packed at {split.size} pixels, and test images "
            f"are resized to {side}; use --set evaluation_resize={split.size}, or pack the data "
            f"set again with --size {side}"
        )
