"""The first images of CIFAR-10: what a machine without a GPU trains more than one epoch of.

qcli train --plugin benchmarks/figures/cifar10_part.py -d cifar10_part -p DATA ...
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import qcli

FULL = "cifar10"
SHAPE = (3, 32, 32)


def build(
    root: Path | None,
    image_shape: tuple[int, int, int],
    *,
    train_images: int = 5000,
    test_images: int = 2000,
) -> qcli.Splits:
    """Load CIFAR-10 and keep the first images of both parts.

    Args:
        root: The path given with `-p`.
        image_shape: (C, H, W) that the images are resized to.
        train_images: How many are trained on.
        test_images: How many are measured on.
    """
    from qcli_datasets.cifar import build_cifar10

    splits = build_cifar10(root, image_shape)
    train, test = (
        _first(split, n) for split, n in ((splits.train, train_images), (splits.test, test_images))
    )
    return replace(splits, train=train, test=test)


def _first(split: object, count: int) -> qcli.ArraySplit:
    assert isinstance(split, qcli.ArraySplit)
    return qcli.ArraySplit(split.images[:count], split.labels[:count])


def _count(what: str, default: int) -> dict[str, object]:
    return {"description": what, "type": "integer", "minimum": 10, "default": default}


@qcli.hookimpl
def qcli_register_datasets() -> Iterable[qcli.DatasetEntry]:
    """Offer the data set."""
    return [
        qcli.DatasetEntry(
            name="cifar10_part",
            summary="The first images of CIFAR-10.",
            source="Krizhevsky, Learning multiple layers of features from tiny images, 2009",
            build=build,
            options={
                "train_images": _count("How many images are trained on.", 5000),
                "test_images": _count("How many images are measured on.", 2000),
            },
            num_classes=10,
            image_shape=SHAPE,
        )
    ]
