"""What lies in a folder of images, or of such folders; sorted, without hidden files."""

from __future__ import annotations

import os
from pathlib import Path

from qcli import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LAYOUT = "train/CLASS/IMAGE, and val/CLASS/IMAGE or val/IMAGE with val.txt"


def list_images(folder: Path) -> list[str]:
    """Return the names of the images in a folder."""
    files = _list(folder)
    return [file.name for file in files if _is_image(file.name) and file.is_file()]


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder."""
    return [file.name for file in _list(folder) if file.is_dir()]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror}; expected {LAYOUT}; pass -p DIR with the directory that "
            "holds train/ and val/"
        ) from error
    return sorted(visible, key=lambda entry: entry.name)
