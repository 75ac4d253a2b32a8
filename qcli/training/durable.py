"""Files that a crash or a full disk leaves whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place, make it durable, and move it there in one step.

    Raises:
        OSError: The disk is full or not writable; what stood there before still stands.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        # A link that somebody left there would lead the writing elsewhere.
        beside.unlink(missing_ok=True)
        write(beside)
        give_usual_mode(beside)
        sync_to_disk(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_to_disk(path.parent)


def open_to_append(path: Path) -> BinaryIO:
    """Open a file at its end, which is made where it is not there.

    Raises:
        OSError: The disk refuses it, or the name is a link, which might lead anywhere.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def give_usual_mode(path: Path) -> None:
    """Make a file as readable as its folder: safetensors writes for the owner alone."""
    path.chmod(0o666 & ~_umask())


@cache
def _umask() -> int:
    # Read once: to read it is to change it, for all threads.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sync_to_disk(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_error(error: BaseException) -> bool:
    """Say whether an error of a writer comes from the disk: torch and safetensors wrap it."""
    text = str(error).lower()
    wrapped = (
        *("i/o error", "iostream", "filewriter", "os error", "writing to file", "file write"),
        "parent directory",
    )
    return isinstance(error, OSError) or any(sign in text for sign in wrapped)
