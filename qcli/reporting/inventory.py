"""What `qcli data check` tells of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qcli.reporting.console import print_data
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.training.checksums import Checksum
    from qcli.training.inventory import Part

MOST_CLASSES = 20


def inventory_as_json(
    name: str, files: Sequence[Checksum], parts: Mapping[str, Part], class_names: Sequence[str]
) -> dict[str, Any]:
    """Return what was found as a JSON object."""
    return {
        "schema_version": 1,
        "dataset": name,
        "files": [
            {"path": str(file.path), "md5": file.md5, "as_published": file.is_right}
            for file in files
        ],
        "splits": {
            split: {
                "images": part.images,
                "shape": list(part.shape) if part.shape else None,
                "classes": list(part.classes) if part.classes is not None else None,
                "decoded": part.decoded,
                "unreadable": list(part.faults),
            }
            for split, part in parts.items()
        },
        "class_names": list(class_names),
    }


def print_inventory(
    files: Sequence[Checksum], parts: Mapping[str, Part], class_names: Sequence[str]
) -> None:
    """Print what was found to stdout: files, splits, classes."""
    if files:
        print_table(
            ("file", "MD5", ""),
            [
                [str(file.path), file.md5, "as published" if file.is_right else "another file"]
                for file in files
            ],
        )
    if parts:
        print_table(
            ("split", "images", "shape", "decoded"), [_row(*item) for item in parts.items()]
        )
        _print_classes(parts, class_names)


def _row(name: str, part: Part) -> list[str]:
    shape = "x".join(map(str, part.shape)) if part.shape else "any"
    decoded = "in memory" if part.in_memory else f"{part.decoded}, {len(part.faults)} unreadable"
    return [name, f"{part.images:,}", shape, decoded]


def _print_classes(parts: Mapping[str, Part], class_names: Sequence[str]) -> None:
    counts = {name: part.classes for name, part in parts.items() if part.classes is not None}
    if not counts:
        print_data("images for each class: known after --all")
        return
    size = len(next(iter(counts.values())))
    names = class_names or [str(label) for label in range(size)]
    rows = [
        [str(label), names[label], *(f"{of[label]:,}" for of in counts.values())]
        for label in range(min(size, MOST_CLASSES))
    ]
    print_table(("label", "class", *counts), rows)
    if size > MOST_CLASSES:
        ranges = ", ".join(f"{min(of):,} to {max(of):,} in {name}" for name, of in counts.items())
        print_data(f"{size} classes, the first {MOST_CLASSES} shown; images for each: {ranges}")
