"""ImageNet, and any photographs in its layouts: a folder of training images for each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from qcli import DataError, Normalization, Splits
from qcli_datasets.image_files import ImageFiles
from qcli_datasets.image_folder import LAYOUT, SUFFIXES, list_folders, list_images
from qcli_datasets.resizing import ImageShape

NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def build_imagenet(
    root: Path | None,
    image_shape: ImageShape,
    *,
    layout: str = "auto",
    val_list: str = "val.txt",
) -> Splits:
    """Find the images below `root`/train and `root`/val; they are decoded when they are needed.

    Args:
        root: The path given with `-p`.
        image_shape: Of no use here: images keep their size until they are cropped for training.
        layout: `folder` is val/CLASS/IMAGE; `flat` is val/IMAGE with a list of labels; `auto` is
            folder where val/ holds folders, else flat.
        val_list: The list of the flat layout, relative to `root`: lines `IMAGE LABEL`.
    """
    if root is None:
        raise DataError(f"imagenet needs -p DIR: the directory that holds {LAYOUT}")
    train, val = root / "train", root / "val"
    classes = _list_classes(train)
    is_flat = layout == "flat" or (layout == "auto" and not list_folders(val))
    # The test images come first: a fault there is told before the training images are listed.
    test = (
        _read_list(root / val_list, val, len(classes))
        if is_flat
        else _scan_folders(val, _list_known(val, train, classes), classes)
    )
    train_images = _scan_folders(train, classes, classes)
    return Splits(train_images, test, len(classes), NORMALIZATION, classes)


def _list_classes(train: Path) -> list[str]:
    classes = list_folders(train)
    if len(classes) < 2:
        raise DataError(
            f"{train}: the number of folders is {len(classes)}; expected one for each of 2 or "
            "more classes; pass -p DIR with the directory that holds train/ and val/"
        )
    return classes


def _list_known(val: Path, train: Path, classes: Sequence[str]) -> list[str]:
    found = list_folders(val)
    if not found:
        raise DataError(
            f"{val}: holds no folders; expected one for each class; where the images lie in it "
            'directly, set the option "layout" to "flat"'
        )
    if unknown := sorted(set(found).difference(classes)):
        raise DataError(
            f"{val / unknown[0]}: there is no folder of this name in {train}; "
            "expected the same classes in both"
        )
    return found


def _scan_folders(folder: Path, found: Sequence[str], classes: Sequence[str]) -> ImageFiles:
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


def _read_list(val_list: Path, val: Path, num_classes: int) -> ImageFiles:
    images = set(list_images(val))
    label_of = {str(label): label for label in range(num_classes)}
    names: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(_read_lines(val_list, val), start=1):
        if line.strip():
            name, label = _parse_line(f"{val_list}, line {number}", line, label_of)
            if name not in images:
                raise DataError(f"{val_list}, line {number}: there is no image {val / name}")
            names.append(name)
            labels.append(label)
    if not names:
        raise DataError(f"{val_list}: names no images; expected a line IMAGE LABEL for each")
    return ImageFiles(val, names, labels)


def _read_lines(val_list: Path, val: Path) -> list[str]:
    try:
        return val_list.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{val_list}: cannot be read: {error}; expected a line IMAGE LABEL for each image in "
            f'{val}, which holds no folders of classes; set the option "val_list" to its place'
        ) from error


def _parse_line(where: str, line: str, label_of: Mapping[str, int]) -> tuple[str, int]:
    name, _, label = line.strip().replace("\t", " ").rpartition(" ")
    if not name or label not in label_of:
        raise DataError(
            f"{where}: found {line[:80]!r}; expected IMAGE LABEL with a label of "
            f"0..{len(label_of) - 1}, the place of the class among the sorted folders of train/"
        )
    return name.strip(), label_of[label]
