"""CIFAR-10 and CIFAR-100, from their Python archives."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qcli import ArraySplit, DataError, Normalization, Splits
from qcli_datasets.cifar_pickle import PickledArray, decode, read_pickle
from qcli_datasets.file_set import RENEW, FileSet
from qcli_datasets.labels import make_labels
from qcli_datasets.resizing import ImageShape, resize_images

SHAPE = (3, 32, 32)
VALUES_PER_IMAGE = 3072
# The standard deviation of all pixels, not the mean of those of single images (0.2023, ...).
CIFAR10 = Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100 = Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
NUM_CLASSES = {"fine": 100, "coarse": 20}


def build_cifar10(root: Path | None, image_shape: ImageShape, *, download: bool = False) -> Splits:
    """Load CIFAR-10 from `root`/cifar-10-batches-py or `root`.

    Args:
        root: The path given with `-p`.
        image_shape: (C, H, W) that the images are resized to.
        download: Fetch the files where one is missing.
    """
    batches = tuple(f"data_batch_{number}" for number in range(1, 6))
    files = _files("cifar10", "cifar-10-batches-py", (*batches, "test_batch"))
    paths = files.locate(root, download)
    class_names = _read_names(paths[0].with_name("batches.meta"), "label_names", 10)
    return Splits(
        train=_load_split(paths[:-1], "labels", 10, image_shape),
        test=_load_split(paths[-1:], "labels", 10, image_shape),
        num_classes=10,
        normalization=CIFAR10,
        class_names=class_names,
    )


def build_cifar100(
    root: Path | None, image_shape: ImageShape, *, labels: str = "fine", download: bool = False
) -> Splits:
    """Load CIFAR-100 from `root`/cifar-100-python or `root`.

    Args:
        root: The path given with `-p`.
        image_shape: (C, H, W) that the images are resized to.
        labels: `fine`, 100 classes, or `coarse`, 20.
        download: Fetch the files where one is missing.
    """
    files = _files("cifar100", "cifar-100-python", ("train", "test"))
    train, test = files.locate(root, download)
    num_classes = NUM_CLASSES[labels]
    class_names = _read_names(train.with_name("meta"), f"{labels}_label_names", num_classes)
    return Splits(
        train=_load_split([train], f"{labels}_labels", num_classes, image_shape),
        test=_load_split([test], f"{labels}_labels", num_classes, image_shape),
        num_classes=num_classes,
        normalization=CIFAR100,
        class_names=class_names,
    )


def _files(dataset: str, folder: str, files: tuple[str, ...]) -> FileSet:
    return FileSet(dataset, (folder, ""), files, fetch=partial(_fetch, dataset.upper()))


def _fetch(class_name: str, root: Path) -> None:
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    # Not through the class's constructor, which unpickles the files.
    archive = getattr(datasets, class_name)
    download_and_extract_archive(archive.url, root, filename=archive.filename, md5=archive.tgz_md5)


def _read_names(path: Path, key: str, num_classes: int) -> tuple[str, ...]:
    """Return the names of the classes; none where the file that holds them is missing."""
    if not path.is_file():
        return ()
    names = _get(path, read_pickle(path), key)
    if not isinstance(names, list) or len(names) != num_classes:
        raise DataError(f"{path}: {key} is no list of {num_classes} names; {RENEW}")
    try:
        return tuple(decode(name) for name in names)
    except ValueError as error:
        raise DataError(f"{path}: a name in {key} {error}; {RENEW}") from None


def _load_split(
    paths: Sequence[Path], key: str, num_classes: int, image_shape: ImageShape
) -> ArraySplit:
    batches = [_read_batch(path, key, num_classes) for path in paths]
    images = torch.from_numpy(np.concatenate([images for images, _ in batches]))
    labels = torch.cat([labels for _, labels in batches])
    return ArraySplit(resize_images(images.reshape(-1, *SHAPE), image_shape), labels)


def _read_batch(path: Path, key: str, num_classes: int) -> tuple[NDArray[np.uint8], Tensor]:
    content = read_pickle(path)
    images = _read_images(path, _get(path, content, "data"))
    values = _get(path, content, key)
    if not isinstance(values, list):
        raise DataError(f"{path}: {key} is no list of numbers; {RENEW}")
    return images, make_labels(path, values, len(images), num_classes)


def _read_images(path: Path, array: object) -> NDArray[np.uint8]:
    if not isinstance(array, PickledArray):
        raise DataError(f"{path}: data is no array of images; {RENEW}")
    try:
        images = array.to_numpy()
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"{path}: data cannot be read: {error}; {RENEW}") from error
    if images.ndim != 2 or images.shape[1] != VALUES_PER_IMAGE or not len(images):
        found = "x".join(str(length) for length in images.shape)
        raise DataError(
            f"{path}: data has the shape {found}; expected Nx{VALUES_PER_IMAGE}, N images of "
            f"3x32x32 values; {RENEW}"
        )
    return images


def _get(path: Path, content: dict[str, Any], key: str) -> Any:
    if key not in content:
        raise DataError(
            f"{path}: holds {', '.join(sorted(content)) or 'nothing'}; expected {key}; {RENEW}"
        )
    return content[key]
