"""Images that worker processes decode from files, or take from memory, and transform one by one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from qcli.errors import DataError, RunError
from qcli.training.batches import (
    MicroBatch,
    Normalize,
    Process,
    calibration_bounds,
)
from qcli.training.division import Division, Part
from qcli.training.keyed import derive_seed, keyed_generator
from qcli.training.splits import ArraySplit, Split
from qcli.training.transforms import FAULTS

Key = tuple[int, int]

# What is done to an image, and the field of a recipe that says how.
AUGMENTED = ("augmented", "augment")
RESIZED = ("resized and cropped", "evaluation_resize")


class _Decoded(Dataset[tuple[Tensor, int]]):
    """Decodes and transforms; what is random depends on (seed, epoch, index) alone."""

    def __init__(
        self, split: Split, transform: v2.Transform, treatment: tuple[str, str], seed: int
    ) -> None:
        self.split = split
        self.transform = transform
        self.treatment = treatment
        self.seed = seed

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        with warnings.catch_warnings():
            # A broken EXIF block is no reason to fail: the pixels are good.
            warnings.simplefilter("ignore")
            image, label = _get(self.split, index)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed GPUs too, and with them the network's dropout.
            torch.default_generator.manual_seed(derive_seed(self.seed, epoch, index))
            return self._apply(image, index).permute(1, 2, 0).contiguous(), label

    def _apply(self, image: Image | Tensor, index: int) -> Tensor:
        try:
            transformed: Tensor = self.transform(image)
        except FAULTS as error:
            size = image.size if isinstance(image, Image) else (image.shape[2], image.shape[1])
            treated, field = self.treatment
            raise DataError(
                f"image {index}, of {size[0]}x{size[1]} pixels, cannot be {treated}: {error}; "
                f"change {field}, or leave the image out"
            ) from error
        return transformed


def _get(split: Split, index: int) -> tuple[Image | Tensor, int]:
    if isinstance(split, ArraySplit):
        return split.images[index], int(split.labels[index])
    return split[index]


class _Batches:
    """The keys of the batches of one pass; set anew before each."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def count_workers(workers: int | None, num_processes: int) -> int:
    """Return how many workers a process has; None: its share of the cores."""
    if workers is not None:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return cores // num_processes


def tell_worker_error(error: Exception, fewer: str) -> Exception:
    """Return what is said of an error of a worker process, in one line; of others, themselves.

    Args:
        error: What was caught.
        fewer: What to type for fewer workers.
    """
    if isinstance(error, DataError):
        # The traceback holds the loader in a cycle, and workers that the garbage collector
        # finds take 5 s each to end.
        error.__traceback__ = None
        # A worker's error arrives with the worker's whole traceback in its text.
        return DataError(str(error).rpartition("DataError: ")[2].strip())
    if "DataLoader worker" in str(error):
        return RunError(
            f"a process that decodes images was killed, perhaps for memory; use fewer: {fewer}"
        )
    return error


class _Loader:
    def __init__(
        self,
        split: Split,
        transform: v2.Transform,
        treatment: tuple[str, str],
        seed: int,
        workers: int | None,
        normalizer: Normalize,
        process: Process,
    ) -> None:
        count = count_workers(workers, process.count)
        self.keys = _Batches()
        self.normalizer = normalizer
        self.process = process
        options: dict[str, Any] = {"persistent_workers": True, "prefetch_factor": 4}
        self.loader = DataLoader(
            _Decoded(split, transform, treatment, seed),
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
        except (DataError, RuntimeError) as error:
            raise tell_worker_error(error, "--set workers=1") from None


class StreamedTraining:
    """A training set that is decoded or augmented by worker processes while it is used."""

    def __init__(
        self,
        split: Split,
        division: Division,
        transform: v2.Transform,
        normalizer: Normalize,
        seed: int,
        workers: int | None,
        process: Process,
    ) -> None:
        self.count = len(split)
        self.division = division
        self.seed = seed
        self.process = process
        self.loader = _Loader(split, transform, AUGMENTED, seed, workers, normalizer, process)

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
        split: Split,
        batch_size: int,
        transform: v2.Transform,
        normalizer: Normalize,
        workers: int | None,
        process: Process,
    ) -> None:
        self.num_images = len(split)
        share = range(process.index, self.num_images, process.count)
        starts = range(0, len(share), batch_size)
        self.batches = [[(0, i) for i in share[start : start + batch_size]] for start in starts]
        self.loader = _Loader(split, transform, RESIZED, 0, workers, normalizer, process)

    def __iter__(self) -> Iterator[MicroBatch]:
        """Yield this process's share, in order."""
        return self.loader.load(self.batches)
