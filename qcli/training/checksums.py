"""Whether files of a data set are those that were published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Checksum:
    """One file that was found.

    Args:
        path: Where it lies.
        md5: Of its content, in hexadecimal.
        expected: That of the published file.
    """

    path: Path
    md5: str
    expected: str

    @property
    def is_right(self) -> bool:
        """Say whether it is the published file."""
        return self.md5 == self.expected


def take_checksums(root: Path, published: Mapping[str, str]) -> list[Checksum]:
    """Compare the files below `root` that are there with the published ones.

    Args:
        root: The path given with `-p`.
        published: MD5 by path; a file is looked for at each end of its path.
    """
    return [
        Checksum(path, _md5(path), expected)
        for name, expected in published.items()
        for path in _find(root, PurePosixPath(name))
    ]


def _find(root: Path, name: PurePosixPath) -> list[Path]:
    ends = [root.joinpath(*name.parts[start:]) for start in range(len(name.parts))]
    return [path for path in ends if path.is_file()]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
