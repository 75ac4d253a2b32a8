"""The bundled data sets that `-d` can name: entries only, which import no torch."""

from __future__ import annotations

from typing import Any

from qcli import DatasetEntry, HealthCheckEntry, hookimpl
from qcli_datasets import published

Options = dict[str, dict[str, Any]]

_DOWNLOAD: Options = {
    "download": {
        "description": "Fetch the files into the directory given with -p where they are missing.",
        "type": "boolean",
        "default": False,
    }
}
_DIGITS: Options = {
    "split": {
        "description": (
            "Which images are for testing: random is a fifth, drawn once and for all; writer is "
            "the last 360, by writers who are not in the training set, which is harder."
        ),
        "type": "string",
        "enum": ["random", "writer"],
        "default": "random",
    }
}
_CIFAR100: Options = {
    "labels": {
        "description": "The labels to learn: 100 fine classes, or the 20 coarse ones they form.",
        "type": "string",
        "enum": ["fine", "coarse"],
        "default": "fine",
    }
}
_IMAGENET: Options = {
    "layout": {
        "description": (
            "Where the test images are. folder: val/CLASS/IMAGE; flat: val/IMAGE with a list of "
            "labels; archives: all images stay in the published .tar files, and an index is kept "
            "beside them; auto: what is there."
        ),
        "type": "string",
        "enum": ["auto", "folder", "flat", "archives"],
        "default": "auto",
    },
    "val_list": {
        "description": (
            "The list of labels of the flat layout, relative to the directory given with -p: a "
            "line `IMAGE LABEL` for each test image. Classes count from 0 in sorted order."
        ),
        "type": "string",
        "default": "val.txt",
    },
}


def _count(description: str, minimum: int, maximum: int, default: int) -> dict[str, Any]:
    return {
        "description": description,
        "type": "integer",
        "minimum": minimum,
        "maximum": maximum,
        "default": default,
    }


_SYNTHETIC: Options = {
    "num_classes": _count("The number of classes.", 2, 10_000, default=10),
    "train_images": _count("The number of training images.", 1, 10_000_000, default=1024),
    "test_images": _count("The number of test images.", 1, 10_000_000, default=256),
    "noise": {
        "description": (
            "The strength of the noise as a multiple of the strength of the class patterns: "
            "0 makes all images of a class equal, 1 makes some hard to tell apart."
        ),
        "type": "number",
        "minimum": 0,
        "maximum": 10,
        "default": 0.75,
    },
    "seed": _count("Another number makes other patterns and images.", 0, 2**32 - 1, default=0),
}
_FOLDER: Options = {
    "test_fraction": {
        "description": (
            "The share of each class that is for testing where there is no train/; null: 0.2."
        ),
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "default": None,
    },
    "split_seed": _count(
        "Another number draws other test images where there is no train/.", 0, 2**32 - 1, default=0
    ),
}


def _mnist(name: str, summary: str, source: str) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        summary=summary,
        source=source,
        build=f"qcli_datasets.mnist:build_{name}",
        options=_DOWNLOAD,
        num_classes=10,
        image_shape=(1, 28, 28),
        checksums=published.MNIST if name == "mnist" else published.FASHION_MNIST,
    )


def _cifar(num_classes: int, options: Options) -> DatasetEntry:
    return DatasetEntry(
        name=f"cifar{num_classes}",
        summary=f"60000 color photographs of 32x32 pixels in {num_classes} classes.",
        source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        build=f"qcli_datasets.cifar:build_cifar{num_classes}",
        options=options,
        num_classes=num_classes,
        image_shape=(3, 32, 32),
        checksums=published.CIFAR10 if num_classes == 10 else published.CIFAR100,
    )


@hookimpl
def qcli_register_datasets() -> list[DatasetEntry]:
    """Offer digits, MNIST and Fashion-MNIST, CIFAR, ImageNet, any folder, synthetic images."""
    return [
        DatasetEntry(
            name="digits",
            summary="1797 handwritten digits of 8x8 pixels, shipped with scikit-learn: no files.",
            source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, "
            "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49",
            build="qcli_datasets.digits:build_digits",
            options=_DIGITS,
            num_classes=10,
        ),
        _mnist(
            "mnist",
            "70000 handwritten digits of 28x28 pixels.",
            "LeCun et al., Gradient-Based Learning Applied to Document Recognition, "
            "Proceedings of the IEEE, 1998",
        ),
        _mnist(
            "fashion_mnist",
            "70000 pieces of clothing of 28x28 pixels.",
            "Xiao et al., Fashion-MNIST, 2017, arXiv:1708.07747",
        ),
        _cifar(10, _DOWNLOAD),
        _cifar(100, {**_CIFAR100, **_DOWNLOAD}),
        DatasetEntry(
            name="imagenet",
            summary="ImageNet, or any photographs in train/CLASS/ and val/CLASS/: read as needed.",
            source="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, "
            "IJCV 2015, arXiv:1409.0575",
            build="qcli_datasets.imagenet:build_imagenet",
            options=_IMAGENET,
            image_shape=(3, 224, 224),
        ),
        DatasetEntry(
            name="folder",
            summary="Photographs in CLASS/, or in train/CLASS/ with test/CLASS/ or val/CLASS/.",
            source="qcli",
            build="qcli_datasets.folder:build_folder",
            options=_FOLDER,
            image_shape=(3, 224, 224),
        ),
        DatasetEntry(
            name="synthetic",
            summary="Random patterns in any shape, one for each class, with noise: no files.",
            source="qcli",
            build="qcli_datasets.synthetic:build_synthetic",
            options=_SYNTHETIC,
        ),
    ]


@hookimpl
def qcli_register_health_checks() -> list[HealthCheckEntry]:
    """Offer to look for data sets."""
    summary = "Data sets where -p says, with counts; checksums with --full."
    return [HealthCheckEntry("data", summary, "qcli_datasets.health:check_data")]
