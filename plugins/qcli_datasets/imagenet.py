"""ImageNet, and any photographs in its layouts: a folder of training images for each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qcli import DataError, Normalization, Splits
from qcli_datasets.class_folders import list_classes, list_known_classes, scan_classes
from qcli_datasets.image_files import ImageFiles, check_color
from qcli_datasets.image_folder import list_folders, list_images
from qcli_datasets.imagenet_archives import DEVKIT, TRAIN, VAL, read_archives
from qcli_datasets.resizing import ImageShape

LAYOUT = (
    "train/CLASS/IMAGE, and val/CLASS/IMAGE or val/IMAGE with val.txt; "
    f"or {TRAIN}, {VAL} and {DEVKIT}"
)
VAL_LIST = "val.txt"
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def build_imagenet(
    root: Path | None,
    image_shape: ImageShape,
    *,
    layout: str = "auto",
    val_list: str = VAL_LIST,
) -> Splits:
    """Find the images below `root`/train and `root`/val; they are decoded when they are needed.

    Args:
        root: The path given with `-p`.
        image_shape: (3, H, W); images keep their size until they are cropped for training.
        layout: `folder` is val/CLASS/IMAGE; `flat` is val/IMAGE with a list of labels; `auto` is
            folder where val/ holds folders, else flat; `archives` is the published archives, which
            auto takes where there is no train/.
        val_list: The list of the flat layout, relative to `root`: lines `IMAGE LABEL`.
    """
    if root is None:
        raise DataError(f"imagenet needs -p DIR: the directory that holds {LAYOUT}")
    check_color("imagenet", image_shape)
    train, val = root / "train", root / "val"
    has_archives = not train.is_dir() and (root / TRAIN).is_file()
    if layout == "archives" or (layout == "auto" and has_archives):
        _refuse_list(root, val_list, "archives")
        archived, archived_test, ids = read_archives(root)
        return Splits(archived, archived_test, len(ids), NORMALIZATION, ids)
    classes = list_classes(train, LAYOUT)
    is_flat = layout == "flat" or (layout == "auto" and not list_folders(val, LAYOUT))
    if not is_flat:
        _refuse_list(root, val_list, "folder")
    # The test images come first: a fault there is told before the training images are listed.
    test = (
        _read_list(root / val_list, val, len(classes))
        if is_flat
        else scan_classes(val, list_known_classes(val, train, classes, LAYOUT), classes)
    )
    train_images = scan_classes(train, classes, classes)
    return Splits(train_images, test, len(classes), NORMALIZATION, classes)


def _refuse_list(root: Path, val_list: str, layout: str) -> None:
    if val_list != VAL_LIST:
        raise DataError(
            f'{root}: has the layout {layout}, so the option "val_list" would be of no use; '
            "remove it"
        )


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
