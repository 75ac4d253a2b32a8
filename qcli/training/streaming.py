"""Images that are decoded from files by worker processes, and augmented there by torchvision."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from qcli.errors import DataError, RecipeError, RunError
from qcli.training.batches import (
    MicroBatch,
    Normalizer,
    Process,
    calibration_bounds,
)
from qcli.training.division import Division, Part
from qcli.training.keyed import derive_seed, keyed_generator
from qcli.training.lighting import Lighting
from qcli.training.splits import ImageSplit

Key = tuple[int, int]


def training_transform(names: Sequence[str], size: tuple[int, int]) -> v2.Transform:
    """Return what turns a decoded training image into uint8 [3, H, W].

    Args:
        names: Augmentations of a recipe.
        size: (H, W) that the network takes.

    Raises:
        RecipeError: A name is for images in memory, or nothing makes all images of one size.
    """
    steps: list[v2.Transform] = []
    for name in names:
        if name not in _STEPS:
            raise RecipeError(
                [
                    f'/augment: "{name}" is for data sets in memory; images decoded from files '
                    f"take {', '.join(_STEPS)}"
                ]
            )
        steps += _STEPS[name](size)
    if not set(names) & {"rrc", "rrc_sat", "resize_crop", "fbresnet"}:
        raise RecipeError(
            [f"/augment: nothing crops the images to {size}; add rrc, resize_crop or fbresnet"]
        )
    return v2.Compose([v2.PILToTensor(), *steps, v2.ToDtype(torch.uint8, scale=True)])


def evaluation_transform(size: tuple[int, int], resize: int | None) -> v2.Transform:
    """Return what turns a decoded test image into uint8 [3, H, W]: resize, center crop."""
    shorter = resize or round(max(size) * 8 / 7)
    return v2.Compose([v2.PILToTensor(), _resize(shorter), v2.CenterCrop(list(size))])


def _resize(shorter: int) -> v2.Transform:
    return v2.Resize(shorter, antialias=True)


def _random_resized_crop(size: tuple[int, int], least: float, mode: str) -> v2.Transform:
    interpolation = v2.InterpolationMode(mode)
    return v2.RandomResizedCrop(list(size), (least, 1.0), interpolation=interpolation)


def _resize_crop(size: tuple[int, int]) -> list[v2.Transform]:
    return [_resize(round(max(size) * 8 / 7)), v2.RandomCrop(list(size))]


def _fbresnet(size: tuple[int, int]) -> list[v2.Transform]:
    crop = _random_resized_crop(size, 0.08, "bicubic")
    return [crop, v2.ColorJitter(0.4, 0.4, 0.4), Lighting(0.1), v2.RandomHorizontalFlip()]


_STEPS: dict[str, Callable[[tuple[int, int]], list[v2.Transform]]] = {
    "rrc": lambda size: [_random_resized_crop(size, 0.08, "bilinear")],
    "rrc_sat": lambda size: [_random_resized_crop(size, 0.2, "bilinear")],
    "resize_crop": _resize_crop,
    "fbresnet": _fbresnet,
    "flip": lambda size: [v2.RandomHorizontalFlip()],
}


class _Decoded(Dataset[tuple[Tensor, int]]):
    """Decodes and transforms; what is random depends on (seed, epoch, index) alone."""

    def __init__(self, split: ImageSplit, transform: v2.Transform, seed: int) -> None:
        self.split = split
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        with warnings.catch_warnings():
            # A broken EXIF block is no reason to fail: the pixels are good.
            warnings.simplefilter("ignore")
            image, label = self.split[index]
        assert isinstance(image, Image.Image)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed GPUs too, and with them the network's dropout.
            torch.default_generator.manual_seed(derive_seed(self.seed, epoch, index))
            return self.transform(image).permute(1, 2, 0).contiguous(), label


class _Batches:
    """The keys of the batches of one pass; set anew before each."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Loader:
    def __init__(
        self,
        split: ImageSplit,
        transform: v2.Transform,
        seed: int,
        workers: int | None,
        normalizer: Normalizer,
        process: Process,
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        count = cores // process.count if workers is None else workers
        self.keys = _Batches()
        self.normalizer = normalizer
        self.process = process
        options: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 4}
        self.loader = DataLoader(
            _Decoded(split, transform, seed),
            batch_sampler=self.keys,
            num_workers=count,
            pin_memory=process.device.type == "cuda",
            # Else each pass draws a seed from the generator that dropout uses.
            generator=torch.Generator(),
            **(options if count else {}),
        )

    def load(self, batches: list[list[Key]]) -> Iterator[MicroBatch]:
        self.keys.batches = batches
        try:
            for images, labels in self.loader:
                images = images.to(self.process.device, non_blocking=True)
                labels = labels.to(self.process.device, non_blocking=True)
                yield MicroBatch(self.normalizer(images), labels)
        except DataError as error:
            # The traceback holds the loader in a cycle, and workers that the garbage collector
            # finds take 5 s each to end.
            error.__traceback__ = None
            # A worker's error arrives with the worker's whole traceback in its text.
            raise DataError(str(error).rpartition("DataError: ")[2].strip()) from None
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise RunError(
                "a process that decodes images was killed, perhaps for memory; "
                "use fewer: --set workers=1"
            ) from error


class StreamedTraining:
    """A training set that is decoded from files while it is used."""

    def __init__(
        self,
        split: ImageSplit,
        division: Division,
        transform: v2.Transform,
        normalizer: Normalizer,
        seed: int,
        workers: int | None,
        process: Process,
    ) -> None:
        self.count = len(split)
        self.division = division
        self.seed = seed
        self.process = process
        self.loader = _Loader(split, transform, seed, workers, normalizer, process)

    def epoch(self, epoch: int, first_step: int) -> Iterator[list[MicroBatch]]:
        """Yield this process's micro-batches of each step of an epoch, from `first_step` on."""
        order = self._order(epoch)
        steps = range(first_step, self.division.num_steps)
        parts = [part for step in steps for part in self.division.parts(step, self.process.index)]
        loaded = self.loader.load([self._keys(epoch, order, part) for part in parts])
        places = iter(parts)
        for _ in steps:
            yield [_weigh(next(loaded), next(places)) for _ in range(self.division.accumulate)]

    def calibration(self, count: int) -> Iterator[Tensor]:
        """Yield the images of the first `count` whole batches of epoch 0, alike everywhere."""
        order = self._order(0)
        bounds = calibration_bounds(self.division, count)
        batches = [[(0, index) for index in order[start:stop]] for start, stop in bounds]
        for batch in self.loader.load(batches):
            yield batch.images

    def _order(self, epoch: int) -> list[int]:
        generator = keyed_generator(self.seed, epoch, "epoch")
        order: list[int] = torch.randperm(self.count, generator=generator).tolist()
        return order

    def _keys(self, epoch: int, order: list[int], part: Part) -> list[Key]:
        return [(epoch, index) for index in order[part.start : part.stop]]


def _weigh(batch: MicroBatch, part: Part) -> MicroBatch:
    return MicroBatch(batch.images, batch.labels, part.weight)


class StreamedEvaluation:
    """A test set that is decoded from files while it is used."""

    def __init__(
        self,
        split: ImageSplit,
        batch_size: int,
        transform: v2.Transform,
        normalizer: Normalizer,
        workers: int | None,
        process: Process,
    ) -> None:
        self.num_images = len(split)
        share = range(process.index, self.num_images, process.count)
        starts = range(0, len(share), batch_size)
        self.batches = [[(0, i) for i in share[start : start + batch_size]] for start in starts]
        self.loader = _Loader(split, transform, 0, workers, normalizer, process)

    def __iter__(self) -> Iterator[MicroBatch]:
        """Yield this process's share, in order."""
        return self.loader.load(self.batches)
