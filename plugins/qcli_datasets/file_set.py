"""The files that a data set consists of: where they are found, and how they are fetched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from qcli import DataError

RENEW = "copy the file again, or delete it and pass --download"


@dataclass(frozen=True)
class FileSet:
    """The files of one data set.

    Args:
        dataset: The name that `-d` knows it by.
        folders: Where the files may be, relative to the path given with `-p`, likeliest first.
        files: The names of the files.
        fetch: Downloads the files to `folders[0]` below the path that it is called with.
        suffixes: What may follow the name of a file, preferred first.
    """

    dataset: str
    folders: tuple[str, ...]
    files: tuple[str, ...]
    fetch: Callable[[Path], object]
    suffixes: tuple[str, ...] = ("",)

    def locate(self, root: Path | None, download: bool) -> list[Path]:
        """Return the path of every file, in the order of `files`.

        Args:
            root: The path given with `-p`.
            download: Fetch the files where one is missing.

        Raises:
            DataError: A file is missing, or could not be fetched.
        """
        if root is None:
            raise DataError(
                f"{self.dataset} needs -p DIR: the directory that holds {self._expected()}; "
                "add --download to fetch them there"
            )
        if download and self._missing(root):
            self._download(root)
        if missing := self._missing(root):
            raise DataError(
                f"{root}: {self.dataset} has no {', '.join(missing)} there; expected "
                f"{self._expected()}; pass --download, or -p DIR with the directory that holds them"
            )
        found = self._find(root)
        return [found[name] for name in self.files]

    def _expected(self) -> str:
        return f"{self.folders[0]}/ with {', '.join(self.files)}"

    def _missing(self, root: Path) -> list[str]:
        found = self._find(root)
        return [name for name in self.files if name not in found]

    def _find(self, root: Path) -> dict[str, Path]:
        candidates = [self._find_in(root / folder) for folder in self.folders]
        return max(candidates, key=len)

    def _find_in(self, folder: Path) -> dict[str, Path]:
        paths = {}
        for name in self.files:
            spellings = (folder / f"{name}{suffix}" for suffix in self.suffixes)
            if path := next((path for path in spellings if path.is_file()), None):
                paths[name] = path
        return paths

    def _download(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            # Several processes may start at once: one fetches, the others find the files there.
            with FileLock(root / f".{self.dataset}.lock"):
                if self._missing(root):
                    self.fetch(root)
        except (OSError, RuntimeError, HTTPException) as error:
            raise DataError(
                f"{root}: {self.dataset} could not be downloaded: {error}; copy the files there: "
                f"{self._expected()}"
            ) from error
