"""Images inside tar archives, decoded in place: an index says where each of them lies."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qcli import DataError
from qcli_datasets.image_files import decode_image

# Of what is read whole; a small compressed file could fill the memory.
LARGEST_BYTES = 1 << 28


@dataclass(frozen=True)
class ArchiveIndex:
    """Where the files of an archive lie, in the order of their names.

    Args:
        names: Bytes [N]; a file of an archive in the archive is `archive/file`.
        offsets: int64 [N], of the first byte, from the beginning of the outer archive.
        sizes: int64 [N], in bytes.
    """

    names: NDArray[np.bytes_]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]


class ArchivedImages:
    """The images of one archive, as a map-style data set of (RGB image, label).

    Args:
        path: Of the archive.
        index: Where its images lie.
        labels: int64 [N].
    """

    def __init__(self, path: Path, index: ArchiveIndex, labels: NDArray[np.int64]) -> None:
        self.path = path
        self.index = index
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        name = os.fsdecode(self.index.names[index])
        try:
            with self.path.open("rb") as file:
                file.seek(self.index.offsets[index])
                content = file.read(int(self.index.sizes[index]))
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        return decode_image(io.BytesIO(content), f"{self.path}: {name}"), int(self.labels[index])


def index_archive(path: Path) -> ArchiveIndex:
    """Return where the files of a tar archive lie, and those of tar archives inside it.

    Reading a million headers takes minutes, so the index is kept beside the archive where that can
    be written to, and used until the archive changes.

    Raises:
        DataError: The archive is missing or damaged.
    """
    try:
        state = path.stat()
        stamp = np.array([state.st_size, state.st_mtime_ns])
        kept = path.with_name(f"{path.name}.index.npz")
        if index := _read_index(kept, stamp):
            return index
        members = sorted(_list_members(path))
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{path}: cannot be read: {error}; copy the archive again") from error
    index = ArchiveIndex(
        np.array([os.fsencode(name) for name, _, _ in members], np.bytes_),
        np.array([offset for _, offset, _ in members], np.int64),
        np.array([size for _, _, size in members], np.int64),
    )
    with suppress(OSError):
        _write_index(kept, stamp, index)
    return index


def read_members(path: Path, names: tuple[str, ...]) -> list[bytes]:
    """Return the contents of those files of a small .tar.gz whose paths end in `names`.

    Raises:
        DataError: The archive is damaged, or a file is missing in it.
    """
    found: dict[str, bytes] = {}
    try:
        # Whole: a reader that stops at the last member never comes to the checksum.
        content = _decompress(path)
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in names and (file := archive.extractfile(member)):
                    found[name] = file.read()
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; copy the archive again") from error
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path}: holds no {', '.join(missing)}; copy the archive again")
    return [found[name] for name in names]


def _decompress(path: Path) -> bytes:
    with gzip.open(path) as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it holds more than {LARGEST_BYTES} bytes")
    return content


def _list_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the name, offset and size of each file; archives inside are looked into."""
    with path.open("rb") as file:
        for name, offset, size in _list_at(file, 0):
            if not name.endswith(".tar"):
                yield name, offset, size
                continue
            with path.open("rb") as inner:
                for own, place, length in _list_at(inner, offset):
                    yield f"{name.removesuffix('.tar')}/{own}", place, length


def _list_at(file: Any, start: int) -> Iterator[tuple[str, int, int]]:
    """Yield the files of the archive that begins at a place of a file."""
    file.seek(start)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            # The list of all members would fill the memory.
            archive.members = []  # type: ignore[attr-defined]
            if member.isfile():
                yield PurePosixPath(member.name).name, member.offset_data, member.size


def _read_index(path: Path, stamp: NDArray[np.int64]) -> ArchiveIndex | None:
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(path) as kept:
        if np.array_equal(kept["stamp"], stamp):
            return ArchiveIndex(kept["names"], kept["offsets"], kept["sizes"])
    return None


def _write_index(path: Path, stamp: NDArray[np.int64], index: ArchiveIndex) -> None:
    # Several processes may write it at once: each its own file, renamed when it is whole.
    own = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with own.open("wb") as file:
            np.savez(file, stamp=stamp, **vars(index))
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)
