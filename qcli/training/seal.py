"""The seal of a safetensors file: a checksum inside, by which damage is known.

It is the SHA-256 of the whole file, taken with zeros in the place of its digits, and stands in the
metadata. A file without one, which another program wrote, is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

BLANK = "0" * 64
# To be written with a file, whose digits `seal` then fills in.
METADATA = {"sha256": BLANK}
_BEFORE = b'"sha256":"'
_LARGEST_HEADER = 100 << 20
_BLOCK = 1 << 20


def seal(path: Path) -> None:
    """Fill in the checksum of a file that was written with `METADATA`."""
    with path.open("r+b") as file:
        header, _ = _find(file)
        header = _sort_metadata(header)
        place = header.index(_BEFORE) + len(_BEFORE)
        digest = _digest(file, header, place).encode("ascii")
        file.seek(0)
        file.write(header[:place] + digest + header[place + len(digest) :])


def _sort_metadata(header: bytes) -> bytes:
    """Return a header of the same length: safetensors writes metadata in any order."""
    table = json.loads(header[8:])
    table["__metadata__"] = dict(sorted(table["__metadata__"].items()))
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    assert len(text) <= len(header) - 8
    return header[:8] + text.ljust(len(header) - 8)


def is_whole(path: Path) -> bool:
    """Say whether a file has the bytes that were written, or no checksum at all.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        header, place = _find(file)
        if place is None:
            return True
        told = header[place : place + len(BLANK)]
        return _digest(file, header, place).encode("ascii") == told


def _find(file: BinaryIO) -> tuple[bytes, int | None]:
    """Return what stands before the tensors, and the place of the checksum in it."""
    size = int.from_bytes(file.read(8), "little")
    file.seek(0)
    header = file.read(8 + min(size, _LARGEST_HEADER))
    place = header.find(_BEFORE)
    return header, None if place < 0 else place + len(_BEFORE)


def _digest(file: BinaryIO, header: bytes, place: int) -> str:
    """Return the checksum of a file of which the header has been read."""
    digest = hashlib.sha256(header[:place] + BLANK.encode("ascii"))
    digest.update(header[place + len(BLANK) :])
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
