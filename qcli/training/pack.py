"""A pack: a folder that holds a data set of photographs, resized once, in a few large files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qcli.errors import DataError
from qcli.training.packed_images import PackedImages, open_images
from qcli.training.shard import PACK_AGAIN
from qcli.training.splits import Normalization, Splits

MANIFEST = "pack.json"
FORMAT = "qcli pack"
VERSION = 1


@dataclass(frozen=True)
class ShardRecord:
    """One file of a pack.

    Args:
        name: Of the file.
        images: How many it holds.
        bytes: Its length.
        sha256: Of its content, in hexadecimal.
    """

    name: str
    images: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        counts = [self.images, self.bytes]
        if not all(type(each) is int and each > 0 for each in counts):
            raise ValueError(f"found {counts}, expected numbers of images and bytes")
        # A name that leads elsewhere would let a pack read any file.
        if not isinstance(self.name, str) or Path(self.name).name != self.name or "\0" in self.name:
            raise ValueError(f"found {self.name!r}, expected the name of a file beside it")


@dataclass(frozen=True)
class Source:
    """What is packed, and how.

    Args:
        dataset: The name that `-d` knows it by.
        options: The keyword arguments of its `build`.
        root: Where its files lay.
        size: The shorter side of an image, in pixels; smaller images keep theirs.
        quality: Of JPEG, 1..95; None: the pixels themselves are kept.
    """

    dataset: str
    options: Mapping[str, Any]
    root: str
    size: int
    quality: int | None

    def __post_init__(self) -> None:
        named = isinstance(self.dataset, str) and isinstance(self.root, str)
        if not (named and isinstance(self.options, Mapping)):
            raise ValueError("found no name, options and folder of a data set")
        if type(self.size) is not int or self.size < 1:
            raise ValueError(f"found the size {self.size!r}, expected a number of pixels")
        if self.quality is not None and type(self.quality) is not int:
            raise ValueError(f"found the quality {self.quality!r}, expected a number or null")


@dataclass(frozen=True)
class Manifest:
    """What a pack says of itself.

    Args:
        source: What was packed, and how.
        num_classes: The number of classes.
        class_names: In the order of the labels, where they are known.
        normalization: That of the data set.
        shards: The files of `train` and of `test`, in order.
    """

    source: Source
    num_classes: int
    class_names: Sequence[str]
    normalization: Normalization | None
    shards: Mapping[str, Sequence[ShardRecord]]

    def __post_init__(self) -> None:
        if type(self.num_classes) is not int or self.num_classes < 1:
            raise ValueError(f"found {self.num_classes!r} classes, expected a number")
        if not all(isinstance(name, str) for name in self.class_names):
            raise ValueError("found names of classes that are no text")

    def to_json(self) -> str:
        """Return the content of pack.json."""
        document = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(document, indent=2) + "\n"


def is_pack(root: Path | None) -> bool:
    """Say whether a folder is a pack."""
    return root is not None and (root / MANIFEST).is_file()


def read_manifest(root: Path) -> Manifest:
    """Read what a pack says of itself.

    Raises:
        DataError: It is damaged, or of a version that this qcli does not know.
    """
    path = root / MANIFEST
    try:
        document = json.loads(path.read_bytes())
        found = [document.pop(key) for key in ("format", "version")]
        if found == [FORMAT, VERSION]:
            return _parse(document)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error!r}; {PACK_AGAIN}") from error
    raise DataError(
        f"{path}: found {' '.join(map(str, found))}, expected {FORMAT} {VERSION}; run `qcli data "
        "pack` of this qcli again"
    )


def _parse(document: Mapping[str, Any]) -> Manifest:
    constants = document["normalization"]
    return Manifest(
        source=Source(**document["source"]),
        num_classes=document["num_classes"],
        class_names=document["class_names"],
        normalization=None if constants is None else _read_constants(**constants),
        shards={
            split: [ShardRecord(**record) for record in document["shards"][split]]
            for split in ("train", "test")
        },
    )


def _read_constants(mean: Sequence[float], std: Sequence[float]) -> Normalization:
    numbers = [float(number) for number in (*mean, *std)]
    if not len(mean) == len(std) == 3 or not all(map(math.isfinite, numbers)) or min(std) <= 0:
        raise ValueError("found no mean and deviation of three channels")
    return Normalization(mean, std)


def read_pack(root: Path, dataset: str, options: Mapping[str, Any], channels: int) -> Splits:
    """Open a pack; images are read when they are needed.

    Args:
        root: The folder.
        dataset: The name that it is asked for by.
        options: The keyword arguments of that data set's `build`.
        channels: Of the images that are wanted.

    Raises:
        DataError: It is damaged, or holds something else than what is asked for.
    """
    manifest = read_manifest(root)
    _require_source(root, manifest.source, dataset, options)
    if channels != 3:
        raise DataError(
            f'{root}: packed photographs have 3 channels, found {channels}; remove "channels" '
            "from the dataset"
        )
    return Splits(
        _open(root, manifest, "train"),
        _open(root, manifest, "test"),
        manifest.num_classes,
        manifest.normalization,
        manifest.class_names,
    )


def _require_source(root: Path, source: Source, dataset: str, options: Mapping[str, Any]) -> None:
    if source.dataset != dataset:
        raise DataError(
            f"{root}: is a pack of {source.dataset}, not of {dataset}; use -d {source.dataset}, "
            "or pass -p DIR with another directory"
        )
    for name, value in options.items():
        if value != source.options.get(name, value):
            packed, asked = json.dumps(source.options[name]), json.dumps(value)
            raise DataError(
                f'{root}: was packed with the option "{name}" as {packed}, found {asked}; remove '
                "the option, or pack the data set again with it"
            )


def _open(root: Path, manifest: Manifest, split: str) -> PackedImages:
    records = manifest.shards[split]
    if not records:
        raise DataError(f"{root}: holds no images of {split}; {PACK_AGAIN}")
    for record in records:
        _require_length(root / record.name, record.bytes)
    images = open_images(
        [root / record.name for record in records],
        manifest.source.size,
        manifest.source.quality is None,
        manifest.num_classes,
    )
    if len(images) != sum(record.images for record in records):
        raise DataError(f"{root}: {split} holds {len(images)} images, not those of {MANIFEST}")
    return images


def _require_length(path: Path, expected: int) -> None:
    try:
        length = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; {PACK_AGAIN}") from error
    if length != expected:
        raise DataError(f"{path}: has {length} bytes, expected {expected}; {PACK_AGAIN}")


def find_damage(root: Path) -> list[str]:
    """Return what is wrong with the files of a pack: all of them are read.

    Raises:
        DataError: The manifest itself cannot be read.
    """
    records = [record for part in read_manifest(root).shards.values() for record in part]
    return [text for record in records if (text := _find_damage(root / record.name, record))]


def _find_damage(path: Path, record: ShardRecord) -> str | None:
    try:
        # Before its content: a pipe or a device has no end.
        _require_length(path, record.bytes)
        found = checksum(path)
    except DataError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror}; {PACK_AGAIN}"
    if found != record.sha256:
        return f"{path}: its SHA-256 is {found}, expected {record.sha256}; {PACK_AGAIN}"
    return None


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
