"""Files that drawings are written to."""

from __future__ import annotations

from pathlib import Path

from qcli.errors import UsageError

PLOTS = (".png", ".svg", ".pdf")


def require_new_drawing(flag: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse before any work a file that cannot be written, or that would be overwritten.

    Args:
        flag: The option that names the file.
        path: The file.
        suffixes: How its name may end.

    Raises:
        UsageError: The file's name or folder is none for a drawing, or something lies there.
    """
    if path.suffix not in suffixes:
        raise UsageError(
            f'{flag}: found "{path}", allowed: a file that ends in {" ".join(suffixes)}'
        )
    if not path.parent.is_dir():
        raise UsageError(f"{flag}: the folder {path.parent} does not exist")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{flag}: {path} exists; name a new file, or remove it")
