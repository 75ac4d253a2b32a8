"""The archives that ImageNet is published as, read without unpacking them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qcli import DataError
from qcli_datasets.archive import ArchivedImages, index_archive, read_members

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def read_archives(root: Path) -> tuple[ArchivedImages, ArchivedImages, list[str]]:
    """Return the training images, the validation images and the classes, sorted by WordNet id.

    Raises:
        DataError: An archive is missing or damaged, or they do not belong together.
    """
    if missing := [name for name in (TRAIN, VAL, DEVKIT) if not (root / name).is_file()]:
        raise DataError(
            f"{root}: has no {', '.join(missing)}; expected {TRAIN}, {VAL} and {DEVKIT}; fetch "
            "them from https://image-net.org, or use the layout folder or flat"
        )
    meta, truth = read_members(root / DEVKIT, ("meta.mat", GROUND_TRUTH))
    class_of = _read_meta(root / DEVKIT, meta)
    classes = sorted(class_of.values())
    # The validation images come first: a fault there is told before the long index is made.
    val = _read_val(root / VAL, truth, class_of, classes)
    return _read_train(root / TRAIN, classes), val, classes


def _read_meta(path: Path, content: bytes) -> dict[int, str]:
    """Return the WordNet id of each class by the number that the ground truth uses."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        leaves = [row for row in synsets if int(row["num_children"]) == 0]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in leaves}
    except Exception as error:  # a damaged file can raise anything
        raise DataError(
            f"{path}: meta.mat cannot be read: {error}; copy the archive again"
        ) from error


def _read_val(
    path: Path, truth: bytes, class_of: dict[int, str], classes: list[str]
) -> ArchivedImages:
    label_of = {number: classes.index(name) for number, name in class_of.items()}
    index = index_archive(path)
    words = truth.split()
    known = {str(number).encode(): label for number, label in label_of.items()}
    if len(words) != len(index.names) or not set(words) <= known.keys():
        raise DataError(
            f"{path}: holds {len(index.names)} images; {DEVKIT} has {len(words)} labels for "
            f"{len(classes)} classes; expected one label for each image; copy both again"
        )
    return ArchivedImages(path, index, _as_labels([known[word] for word in words]))


def _read_train(path: Path, classes: list[str]) -> ArchivedImages:
    index = index_archive(path)
    label_of = {name.encode(): label for label, name in enumerate(classes)}
    folders = [name.partition(b"/")[0] for name in index.names]
    if unlike := set(folders) ^ label_of.keys():
        raise DataError(
            f"{path}: the class {min(unlike).decode(errors='replace')} is only there or only in "
            f"{DEVKIT}; expected an archive of images for each class; copy both again"
        )
    return ArchivedImages(path, index, _as_labels([label_of[name] for name in folders]))


def _as_labels(labels: list[int]) -> NDArray[np.int64]:
    return np.array(labels, dtype=np.int64)
