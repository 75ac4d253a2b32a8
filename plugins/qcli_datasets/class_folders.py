"""Folders of images, one folder for each class; labels count the sorted names of the folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qcli import DataError
from qcli_datasets.image_files import ImageFiles
from qcli_datasets.image_folder import SUFFIXES, list_folders, list_images


def list_classes(folder: Path, layout: str) -> list[str]:
    """Return the names of the classes that have a folder.

    Args:
        folder: What holds the folders.
        layout: What is expected, in words.

    Raises:
        DataError: There are fewer than two.
    """
    classes = list_folders(folder, layout)
    if len(classes) < 2:
        raise DataError(
            f"{folder}: the number of folders is {len(classes)}; expected one for each of 2 or "
            f"more classes: {layout}; pass -p DIR with the directory that holds them"
        )
    return classes


def list_known_classes(test: Path, train: Path, classes: Sequence[str], layout: str) -> list[str]:
    """Return the classes that have a folder of test images; each must have training images.

    Raises:
        DataError: There is none, or one that is not among `classes`, the folders of `train`.
    """
    found = list_folders(test, layout)
    if not found:
        raise DataError(f"{test}: holds no folders; expected one for each class: {layout}")
    if unknown := sorted(set(found).difference(classes)):
        raise DataError(
            f"{test / unknown[0]}: there is no folder of this name in {train}; "
            "expected the same classes in both"
        )
    return found


def scan_classes(folder: Path, found: Sequence[str], classes: Sequence[str]) -> ImageFiles:
    """List the images of the classes `found`, folders in `folder`, with their labels.

    Raises:
        DataError: A folder holds no images.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    names: list[str] = []
    labels: list[int] = []
    for class_name in found:
        files = list_images(folder / class_name)
        if not files:
            raise DataError(
                f"{folder / class_name}: holds no images; expected files ending in "
                f"{', '.join(SUFFIXES)}; add images, or delete the folder"
            )
        names += [f"{class_name}/{file}" for file in files]
        labels += [label_of[class_name]] * len(files)
    return ImageFiles(folder, names, labels)
