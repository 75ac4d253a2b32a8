"""What lies in a folder of images, or of such folders; sorted, without hidden files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qcli import DataError

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp"),
    *(".gif", ".pgm", ".ppm", ".tif", ".tiff"),
)


def list_images(folder: Path) -> list[str]:
    """Return the names of the images in a folder.

    Raises:
        DataError: The folder cannot be read, or what has an image's name is no file.
    """
    files = _list(folder, f"images ending in {', '.join(SUFFIXES)}")
    images = [file for file in files if _is_image(file.name)]
    for file in images:
        if not _is(file.is_file):
            raise DataError(
                f"{file.path}: has the name of an image, but is no file; mend it, rename it or "
                "delete it"
            )
    return [file.name for file in images]


def list_folders(folder: Path, layout: str) -> list[str]:
    """Return the names of the folders in a folder; `layout` says what is expected."""
    return [file.name for file in _list(folder, layout) if _is(file.is_dir)]


def _is(question: Callable[[], bool]) -> bool:
    """Ask an entry what it is; a link that leads to itself is nothing."""
    try:
        return question()
    except OSError:
        return False


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _list(folder: Path, expected: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror}; expected {expected}; pass -p DIR with the directory that "
            "holds them"
        ) from error
    return sorted(visible, key=lambda entry: entry.name)
