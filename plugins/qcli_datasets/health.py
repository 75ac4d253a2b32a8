"""Which data sets lie in a directory, with what counts, and whether they are as published."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from qcli import DataError, HealthFinding, HealthRequest
from qcli_datasets import published

if TYPE_CHECKING:
    from qcli import Splits

# Files that are no images but belong to a data set.
_BESIDE = ("batches.meta", "meta")


@dataclass(frozen=True)
class _Published:
    """A data set of a few published files.

    Args:
        name: What `-d` knows it by.
        checksums: MD5 by path.
        shape: Of its images.
        counts: Images for training and for testing.
    """

    name: str
    checksums: Mapping[str, str]
    shape: tuple[int, int, int]
    counts: tuple[int, int]


_SETS = (
    _Published("mnist", published.MNIST, (1, 28, 28), (60_000, 10_000)),
    _Published("fashion_mnist", published.FASHION_MNIST, (1, 28, 28), (60_000, 10_000)),
    _Published("cifar10", published.CIFAR10, (3, 32, 32), (50_000, 10_000)),
    _Published("cifar100", published.CIFAR100, (3, 32, 32), (50_000, 10_000)),
)


def check_data(request: HealthRequest) -> Iterator[HealthFinding]:
    """Look for data sets; reads their files, and with `full` compares checksums."""
    root = request.data_root
    if root is None:
        told = "digits and synthetic need no files; others are looked for where -p says"
        yield HealthFinding("note", told, "qcli doctor data -p DIR")
        return
    if not root.is_dir():
        yield HealthFinding("error", f"{root} is no folder", f"mkdir -p {shlex.quote(str(root))}")
        return
    findings = [*_find_published(root, request.full), *_find_photographs(root, request.full)]
    yield from findings
    if not findings:
        told = f"{root}: holds no data set that is known"
        remedy = f"qcli data check cifar10 -p {shlex.quote(str(root))} --download"
        yield HealthFinding("warning", told, remedy)


def _find_published(root: Path, full: bool) -> Iterator[HealthFinding]:
    for each in _SETS:
        there = {name: path for name in each.checksums if (path := _find(root, name))}
        # Two data sets may call their files alike: those in a folder of their own are meant.
        images = [name for name in there if PurePosixPath(name).name not in _BESIDE]
        if images:
            yield _judge(each, root, there, full)


def _find(root: Path, name: str) -> Path | None:
    """Return a file of a data set that lies in its own folder, below or at the root."""
    path = PurePosixPath(name)
    own = path.parts[0]
    places = [root / path, *([root.joinpath(*path.parts[1:])] if root.name == own else [])]
    return next((place for place in places if place.is_file()), None)


def _judge(each: _Published, root: Path, there: Mapping[str, Path], full: bool) -> HealthFinding:
    where = shlex.quote(str(root))
    fetch = f"qcli data check {each.name} -p {where} --download"
    try:
        splits = _build(each.name)(root, each.shape)
    except DataError as error:
        return HealthFinding("warning", str(error), fetch)
    counts = (len(splits.train), len(splits.test))
    told = f"{each.name}: {counts[0]:,} images for training, {counts[1]:,} for testing"
    if counts != each.counts:
        expected = " and ".join(f"{count:,}" for count in each.counts)
        return HealthFinding("warning", f"{told}; published are {expected}", fetch)
    if not full:
        return HealthFinding("ok", f"{told}; checksums are compared with --full")
    other = [path for name, path in there.items() if _md5(path) != each.checksums[name]]
    if other:
        remedy = f"rm {shlex.quote(str(other[0]))}; {fetch}"
        return HealthFinding("error", f"{told}; not as published: {other[0]}", remedy)
    return HealthFinding("ok", f"{told}; {len(there)} files as published")


def _build(name: str) -> Callable[[Path, tuple[int, int, int]], Splits]:
    from qcli_datasets import cifar, mnist

    builds: dict[str, Any] = {
        "mnist": mnist.build_mnist,
        "fashion_mnist": mnist.build_fashion_mnist,
        "cifar10": cifar.build_cifar10,
        "cifar100": cifar.build_cifar100,
    }
    build: Callable[[Path, tuple[int, int, int]], Splits] = builds[name]
    return build


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _find_photographs(root: Path, full: bool) -> Iterator[HealthFinding]:
    """Say what lies in the layout of ImageNet; with `full` the images are listed."""
    from qcli_datasets.imagenet_archives import TRAIN

    where = shlex.quote(str(root))
    if (root / "pack.json").is_file():
        told = f"{root}: is a pack"
        yield HealthFinding("ok", told, f"qcli data check NAME -p {where}" if full else "")
        return
    if (root / TRAIN).is_file():
        yield HealthFinding("ok", f"imagenet: the archives, beside {TRAIN}")
        return
    if not (root / "train").is_dir():
        return
    if not full:
        classes = sum(each.is_dir() for each in (root / "train").iterdir())
        told = f"imagenet or folder: {classes:,} classes in train/; images are counted with --full"
        yield HealthFinding("ok", told)
        return
    from qcli_datasets.folder import build_folder
    from qcli_datasets.imagenet import build_imagenet

    for build in (build_imagenet, build_folder):
        try:
            splits = build(root, (3, 224, 224))
        except DataError as error:
            problem = str(error)
            continue
        told = f"{len(splits.train):,} images for training, {len(splits.test):,} for testing"
        yield HealthFinding("ok", f"imagenet or folder: {splits.num_classes:,} classes, {told}")
        return
    yield HealthFinding("warning", problem, f"qcli data check imagenet -p {where}")
