"""The lock of a run directory: one process writes it at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from qcli.errors import RunError
from qcli.training.false_start import LOCK


@dataclass(frozen=True)
class RunLock:
    """A lock that is held.

    Args:
        path: The run directory.
        file: What holds it.
        number: Of the file that is locked: while it is held, no other file has this number.
    """

    path: Path
    file: FileLock
    number: int

    @classmethod
    def acquire(cls, path: Path) -> RunLock:
        """Lock a run directory.

        Raises:
            RunError: Another process holds it, or the disk refuses it.
        """
        file = FileLock(path / LOCK)
        try:
            file.acquire(timeout=0)
            return cls(path, file, (path / LOCK).stat().st_ino)
        except Timeout:
            raise RunError(
                f"{path} is in use by another process; wait for it or choose another with -o"
            ) from None
        except OSError as error:
            raise RunError(f"{path} cannot be written to: {error.strerror}") from None

    def release(self) -> None:
        """Let another process have it."""
        self.file.release()

    def require_held(self) -> None:
        """Refuse to write into a folder that is no longer the one that was locked.

        Raises:
            RunError: It was removed, moved away or replaced since.
        """
        try:
            held = (self.path / LOCK).stat().st_ino == self.number
        except OSError:
            held = False
        if not held:
            raise gone(self.path)


def gone(path: Path) -> RunError:
    """Return what is said of a run directory that is no longer there."""
    return RunError(
        f"{path} was removed or replaced while it was being written; nothing more is saved"
    )
