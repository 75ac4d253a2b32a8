"""MNIST and Fashion-MNIST, which share their file format."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qcli import ArraySplit, DataError, Normalization, Splits
from qcli_datasets.file_set import RENEW, FileSet
from qcli_datasets.idx import read_idx
from qcli_datasets.labels import make_labels
from qcli_datasets.resizing import ImageShape, resize_images

NUM_CLASSES = 10
SIZE = (28, 28)
DIGITS = tuple(str(digit) for digit in range(NUM_CLASSES))
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def build_mnist(root: Path | None, image_shape: ImageShape, *, download: bool = False) -> Splits:
    """Load MNIST from `root`/MNIST/raw, `root`/raw or `root`.

    Args:
        root: The path given with `-p`.
        image_shape: (C, H, W) that the images are resized to.
        download: Fetch the files where one is missing.
    """
    paths = _files("mnist", "MNIST").locate(root, download)
    return _load(paths, image_shape, 0.1307, 0.3081, DIGITS)


def build_fashion_mnist(
    root: Path | None, image_shape: ImageShape, *, download: bool = False
) -> Splits:
    """Load Fashion-MNIST from `root`/FashionMNIST/raw, `root`/raw or `root`.

    Args:
        root: The path given with `-p`.
        image_shape: (C, H, W) that the images are resized to.
        download: Fetch the files where one is missing.
    """
    paths = _files("fashion_mnist", "FashionMNIST").locate(root, download)
    return _load(paths, image_shape, 0.2860, 0.3530, CLOTHES)


def _files(dataset: str, class_name: str) -> FileSet:
    return FileSet(
        dataset,
        folders=(f"{class_name}/raw", "raw", ""),
        files=(
            *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
            *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
        ),
        fetch=partial(_fetch, class_name),
        suffixes=("", ".gz"),
    )


def _fetch(class_name: str, root: Path) -> None:
    from torchvision import datasets

    # Not through the class's constructor, which loads an old cache of torch's where one lies there.
    source = getattr(datasets, class_name)
    for filename, md5 in source.resources:
        _fetch_file(filename, md5, source.mirrors, root / class_name / "raw")


def _fetch_file(filename: str, md5: str, mirrors: Sequence[str], folder: Path) -> None:
    """Fetch a file from the first mirror that has it; unpacked once its checksum is right."""
    from torchvision.datasets.utils import download_and_extract_archive

    errors: list[str] = []
    for mirror in mirrors:
        try:
            download_and_extract_archive(f"{mirror}{filename}", folder, filename=filename, md5=md5)
        except (OSError, RuntimeError) as error:
            errors.append(f"{mirror}{filename}: {error}")
        else:
            return
    raise RuntimeError("; ".join(errors))


def _load(
    paths: list[Path],
    image_shape: ImageShape,
    mean: float,
    std: float,
    class_names: tuple[str, ...],
) -> Splits:
    channels = image_shape[0]
    return Splits(
        train=_load_split(paths[0], paths[1], image_shape),
        test=_load_split(paths[2], paths[3], image_shape),
        num_classes=NUM_CLASSES,
        normalization=Normalization((mean,) * channels, (std,) * channels),
        class_names=class_names,
    )


def _load_split(images_path: Path, labels_path: Path, image_shape: ImageShape) -> ArraySplit:
    images = read_idx(images_path, 3)
    count, height, width = images.shape
    if (height, width) != SIZE or not count:
        raise DataError(
            f"{images_path}: holds {count} images of {height}x{width} pixels; expected one or "
            f"more of {SIZE[0]}x{SIZE[1]}; {RENEW}"
        )
    labels = make_labels(labels_path, read_idx(labels_path, 1).tolist(), count, NUM_CLASSES)
    return ArraySplit(resize_images(images.unsqueeze(1), image_shape), labels)
