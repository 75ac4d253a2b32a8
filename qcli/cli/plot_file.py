"""Files that drawings are written to."""

from __future__ import annotations

from pathlib import Path

from qcli.errors import UsageError

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot_file(path: Path) -> None:
    """Refuse before any work what could not be written after it.

    Raises:
        UsageError: The file's name or folder is none for a drawing.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f'--plot: found "{path}", allowed: a file that ends in {" ".join(SUFFIXES)}'
        )
    if not path.parent.is_dir():
        raise UsageError(f"--plot: the folder {path.parent} does not exist")
