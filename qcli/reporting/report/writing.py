"""Write a report into a folder: one page, and the figures beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qcli.errors import UsageError
from qcli.reporting.report.curves import CURVES
from qcli.reporting.report.picture import Picture
from qcli.training.durable import write_atomically

PAGE = "report.html"
FIGURES = "figures"


def require_folder(folder: Path) -> None:
    """Refuse a folder that a report must not be written into.

    Raises:
        UsageError: It is a file, a link, or holds something other than an earlier report or curves.
    """
    for path in (folder, folder / FIGURES):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise UsageError(f"{path} is no folder of its own; choose another with -o")
    if folder.is_dir() and not ((folder / PAGE).is_file() or _holds_curves_alone(folder)):
        raise UsageError(
            f"{folder} holds other files than a report, and nothing is mixed with them; choose a "
            "new folder with -o"
        )


def _holds_curves_alone(folder: Path) -> bool:
    """Say whether a folder holds nothing, or what `--curves` writes: each as SVG and as PNG."""
    names = {path.name for path in folder.iterdir()}
    drawn = {path.stem for path in folder.iterdir()} & CURVES.keys()
    return names == {f"{name}{suffix}" for name in drawn for suffix in (".svg", ".png")}


@contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """Yield where to write what a folder is to hold.

    A new folder appears whole or not at all, and an empty one is filled or left empty; in one that
    holds something, files are replaced one by one.
    """
    if folder.is_dir():
        was_empty = not any(folder.iterdir())
        try:
            yield folder
        except BaseException:
            for path in folder.iterdir() if was_empty else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        yield partial
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_figures(folder: Path, pictures: Sequence[Picture]) -> None:
    """Write figures as SVG and PNG, in place of those of an earlier report."""
    for picture in pictures:
        for suffix, content in ((".svg", picture.svg.encode()), (".png", picture.png)):
            if content is not None:
                _put(folder / f"{picture.name}{suffix}", content)


def write_report(folder: Path, page: str, figures: Sequence[tuple[str, Sequence[Picture]]]) -> Path:
    """Write a page, last, and its figures.

    Args:
        folder: Where to; made where it is not there.
        page: The HTML.
        figures: Figures with the folder below `figures` that they go to; "": none.

    Returns:
        The page's path.
    """
    with filled(folder) as place:
        for name, pictures in figures:
            beside = place / FIGURES / name
            beside.mkdir(parents=True, exist_ok=True)
            write_figures(beside, pictures)
        _put(place / PAGE, page.encode())
    return folder / PAGE


def _put(path: Path, content: bytes) -> None:
    def write(beside: Path) -> None:
        beside.write_bytes(content)

    write_atomically(path, write)
