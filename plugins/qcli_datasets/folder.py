"""Any photographs in a folder for each class, with or without a split."""

from __future__ import annotations

from pathlib import Path

import torch

from qcli import DataError, Splits
from qcli_datasets.class_folders import list_classes, list_known_classes, scan_classes
from qcli_datasets.image_files import ImageFiles, check_color
from qcli_datasets.imagenet import NORMALIZATION
from qcli_datasets.resizing import ImageShape

LAYOUT = "CLASS/IMAGE, or train/CLASS/IMAGE with test/CLASS/IMAGE or val/CLASS/IMAGE"
TEST_FRACTION = 0.2


def build_folder(
    root: Path | None,
    image_shape: ImageShape,
    *,
    test_fraction: float | None = None,
    split_seed: int = 0,
) -> Splits:
    """Find the images below `root`; they are decoded when they are needed.

    Args:
        root: The path given with `-p`.
        image_shape: (3, H, W); images keep their size until they are cropped for training.
        test_fraction: The share of each class that is for testing where the folders do not say;
            None: 0.2.
        split_seed: Another number draws other test images.
    """
    if root is None:
        raise DataError(f"folder needs -p DIR: the directory that holds {LAYOUT}")
    check_color("folder", image_shape)
    if (root / "train").is_dir():
        given = {"test_fraction": test_fraction is not None, "split_seed": split_seed != 0}
        if useless := [name for name, is_given in given.items() if is_given]:
            raise DataError(
                f'{root}: holds train/, so the option "{useless[0]}" would be of no use; remove it'
            )
        return _read_split(root / "train", _find_test(root))
    classes = list_classes(root, LAYOUT)
    images = scan_classes(root, classes, classes)
    train, test = _draw_split(images, test_fraction or TEST_FRACTION, split_seed, classes)
    return Splits(images.select(train), images.select(test), len(classes), NORMALIZATION, classes)


def _find_test(root: Path) -> Path:
    for name in ("test", "val"):
        if (root / name).is_dir():
            return root / name
    raise DataError(f"{root}: holds train/, but neither test/ nor val/; expected {LAYOUT}")


def _read_split(train: Path, test: Path) -> Splits:
    classes = list_classes(train, LAYOUT)
    test_images = scan_classes(test, list_known_classes(test, train, classes, LAYOUT), classes)
    train_images = scan_classes(train, classes, classes)
    return Splits(train_images, test_images, len(classes), NORMALIZATION, classes)


def _draw_split(
    images: ImageFiles, fraction: float, seed: int, classes: list[str]
) -> tuple[list[int], list[int]]:
    """Draw the same share of every class, at least one image for testing and one for training."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.from_numpy(images.labels)
    train: list[int] = []
    test: list[int] = []
    for label, name in enumerate(classes):
        own = (labels == label).nonzero().flatten()
        if len(own) < 2:
            raise DataError(
                f"{images.folder / name}: holds 1 image; expected 2 or more, one of them for "
                "testing; add images, or delete the folder"
            )
        count = min(max(1, round(fraction * len(own))), len(own) - 1)
        drawn = own[torch.randperm(len(own), generator=generator)]
        test += drawn[:count].sort().values.tolist()
        train += drawn[count:].sort().values.tolist()
    return train, test
