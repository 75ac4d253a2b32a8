"""Writes packs: worker processes decode, resize and encode, this one writes shard after shard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from filelock import FileLock, Timeout

from qcli.errors import DataError, RunError, UsageError
from qcli.training.durable import sync_to_disk, write_atomically
from qcli.training.encoding import Encoded, encode_images
from qcli.training.pack import MANIFEST, Manifest, ShardRecord, Source, checksum
from qcli.training.packed_images import PackedImages
from qcli.training.shard import write_shard
from qcli.training.splits import ArraySplit, ImageSplit, Split, Splits

# 25 MB of JPEG at 256 pixels, 270 MB of raw pixels: what is held in memory, and lost by a kill.
IMAGES_PER_SHARD = 1024
# What an unfinished pack is to become.
SETTINGS = "settings.json"

# Called with how many images are packed, of how many.
OnProgress = Callable[[int, int], None]


def pack_splits(
    splits: Splits,
    source: Source,
    target: Path,
    workers: int | None,
    on_progress: OnProgress,
    images_per_shard: int = IMAGES_PER_SHARD,
) -> Manifest:
    """Write a pack of a data set; one that was stopped goes on where it was.

    The bytes of its files depend on the images and on `source` alone.

    Args:
        splits: The data set.
        source: What it is, and how it is packed.
        target: The folder that is made; it appears when it is whole.
        workers: Processes that decode; None: one for each core; 0: this one.
        on_progress: Called after every image.
        images_per_shard: Of each file but the last.

    Raises:
        DataError: An image cannot be decoded, or the images lie in memory.
        UsageError: `target` is there already, or is being made with other settings.
        RunError: The disk is full or not writable.
    """
    parts = {"train": _as_files(splits.train, source), "test": _as_files(splits.test, source)}
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target}: exists already; choose another -o DIR, or delete it")
    beside = target.with_name(f".{target.name}.unfinished")
    lock = beside.with_suffix(".lock")
    try:
        beside.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            _begin(beside, source, parts, images_per_shard)
            writer = _Writer(beside, source, workers, images_per_shard, on_progress)
            manifest = _describe(splits, source, writer.write(parts))
            _write(beside / MANIFEST, manifest.to_json())
            (beside / SETTINGS).unlink()
            beside.rename(target)
            sync_to_disk(target.parent)
        lock.unlink(missing_ok=True)
    except Timeout as error:
        raise UsageError(f"{target}: is being packed by another process; wait for it") from error
    except OSError as error:
        raise RunError(
            f"{target}: cannot be written: {error}; give the same command again to go on"
        ) from error
    return manifest


def _as_files(split: Split, source: Source) -> ImageSplit:
    if isinstance(split, ArraySplit):
        raise DataError(
            f"{source.dataset}: lies in memory, which is faster than a pack; train on it as it is"
        )
    if isinstance(split, PackedImages):
        raise DataError(
            f"{source.root}: is a pack already; pass -p DIR with the photographs themselves"
        )
    if not len(split):
        raise DataError(f"{source.root}: a part of {source.dataset} holds no images")
    return split


def _begin(
    beside: Path, source: Source, parts: Mapping[str, ImageSplit], images_per_shard: int
) -> None:
    """See that what was begun is the same pack; write down what is begun."""
    path = beside / SETTINGS
    counts = {name: len(split) for name, split in parts.items()}
    settings = {**asdict(source), "images": counts, "images_per_shard": images_per_shard}
    text = json.dumps(settings, indent=2) + "\n"
    if path.exists() and path.read_text("utf-8") != text:
        raise UsageError(
            f"{beside}: holds an unfinished pack of other images or options; give the same "
            "options to go on, choose another -o DIR, or delete it"
        )
    _write(path, text)


def _write(path: Path, text: str) -> None:
    def write(beside: Path) -> None:
        beside.write_text(text, "utf-8")

    write_atomically(path, write)


def _describe(
    splits: Splits, source: Source, shards: Mapping[str, Sequence[ShardRecord]]
) -> Manifest:
    names = [*splits.class_names]
    return Manifest(source, splits.num_classes, names, splits.normalization, shards)


class _Writer:
    """Writes the shards that are not there yet."""

    def __init__(
        self,
        folder: Path,
        source: Source,
        workers: int | None,
        images_per_shard: int,
        on_progress: OnProgress,
    ) -> None:
        self.folder = folder
        self.source = source
        self.workers = workers
        self.images_per_shard = images_per_shard
        self.on_progress = on_progress
        self.done = 0
        self.total = 0

    def write(self, parts: Mapping[str, ImageSplit]) -> dict[str, Sequence[ShardRecord]]:
        self.total = sum(len(split) for split in parts.values())
        return {name: self._write_split(name, split) for name, split in parts.items()}

    def _write_split(self, name: str, split: ImageSplit) -> Sequence[ShardRecord]:
        ranges = {
            self.folder / f"{name}-{number:05}.safetensors": range(
                start, min(start + self.images_per_shard, len(split))
            )
            for number, start in enumerate(range(0, len(split), self.images_per_shard))
        }
        missing = {path: part for path, part in ranges.items() if not path.exists()}
        self._count(len(split) - sum(map(len, missing.values())))
        indices = [index for part in missing.values() for index in part]
        encoded = encode_images(split, indices, self.source, self.workers)
        for path, part in missing.items():
            self._write_shard(path, islice(encoded, len(part)))
        return [
            ShardRecord(path.name, len(part), path.stat().st_size, checksum(path))
            for path, part in ranges.items()
        ]

    def _write_shard(self, path: Path, images: Iterator[Encoded]) -> None:
        held: list[Encoded] = []
        for image in images:
            held.append(image)
            self._count(1)
        write_shard(path, *zip(*held, strict=True))

    def _count(self, images: int) -> None:
        self.done += images
        self.on_progress(self.done, self.total)
