"""Everything that a run leaves on disk: who writes it, and how it is read back."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from qcli.errors import RunError, UsageError

if TYPE_CHECKING:
    from torch import nn

SCHEMA_VERSION = 1
# What run.json must tell for a run to be evaluated or gone on with.
RECORD_KEYS = (
    *("status", "num_classes", "data_root", "plugins", "threads", "cpu", "num_processes"),
    "versions",
)


def default_run_path(architecture: str, dataset: str, recipe: str) -> Path:
    """Return runs/<UTC stamp>-<architecture>-<dataset>-<recipe>, with a number where it exists."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{architecture}-{dataset}-{recipe}".replace(":", "_").replace("/", "_")
    path, number = Path("runs") / name, 2
    while path.exists():
        path, number = Path("runs") / f"{name}-{number}", number + 1
    return path


def require_new(path: Path) -> None:
    """Refuse a run directory that is in use.

    Raises:
        UsageError: It exists and is not an empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(
            f"{path} exists and is never overwritten; choose another with -o, "
            f"or go on with it: qcli train --resume {path}"
        )


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place, make it durable, and move it there in one step.

    Raises:
        OSError: The disk is full or not writable; what stood there before still stands.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        write(beside)
        sync_to_disk(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_to_disk(path.parent)


def _text_writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, "utf-8")

    return write


def sync_to_disk(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass
class RunDirectory:
    """A run's folder, locked while it is open for writing.

    Args:
        path: The folder.
        lock: Held by the process that writes; None where nothing is written.
    """

    path: Path
    lock: FileLock | None = None

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make a new run directory and lock it.

        Raises:
            UsageError: It exists and is not empty, or cannot be made.
        """
        require_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be made: {error.strerror}") from None
        run = cls(path)
        run._acquire()
        return run

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """Open an existing run to go on with it, and lock it.

        Raises:
            RunError: It is no run, is damaged, or another process writes it.
        """
        run = cls(path)
        run.record()
        run._acquire()
        return run

    def _acquire(self) -> None:
        self.lock = FileLock(self.path / ".lock")
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self.path} is in use by another process; wait for it or choose another with -o"
            ) from None

    def release(self) -> None:
        """Let another process open the run."""
        if self.lock:
            self.lock.release()

    def read(self, name: str) -> dict[str, Any]:
        """Read a JSON object of the run.

        Raises:
            RunError: It is missing or damaged.
        """
        file = self.path / name
        try:
            value = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            what = "is no complete run" if self.path.is_dir() else "does not exist"
            raise RunError(f"{file} is missing: {self.path} {what}") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{file} is damaged: {error}") from None
        if not isinstance(value, dict):
            raise RunError(f"{file} is damaged: it holds no JSON object")
        return value

    def record(self) -> dict[str, Any]:
        """Read run.json.

        Raises:
            RunError: It is missing, damaged or not complete.
        """
        record = self.read("run.json")
        missing = [key for key in RECORD_KEYS if key not in record]
        if missing:
            raise RunError(f"{self.path / 'run.json'} is damaged: it has no {missing[0]}")
        return record

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object; raises RunError where the disk refuses it."""
        text = json.dumps(value, indent=2) + "\n"
        self.write_file(name, _text_writer(text))

    def write_file(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file atomically.

        Raises:
            RunError: The disk refuses it; the file that stood there before still stands.
        """
        try:
            write_atomically(self.path / name, write)
        except Exception as error:
            if not is_disk_error(error):
                raise
            raise RunError(f"{self.path / name} cannot be written: {error}") from error

    def update(self, name: str, **fields: Any) -> None:
        """Change fields of a JSON object of the run."""
        self.write(name, {**self.read(name), **fields})

    def rows(self) -> list[dict[str, Any]]:
        """Return the metrics of every epoch; a half-written last line is left out."""
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        rows = []
        for line in file.read_text("utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write metrics.jsonl and metrics.csv."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        self.write_file("metrics.jsonl", _text_writer(lines))
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = table.getvalue()
        self.write_file("metrics.csv", _text_writer(text))

    def log(self, text: str) -> None:
        """Append a line to log.txt, with the time."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")


def is_disk_error(error: BaseException) -> bool:
    """Say whether an error of a writer comes from the disk: torch and safetensors wrap it."""
    text = str(error).lower()
    wrapped = ("i/o error", "iostream", "filewriter", "os error", "writing to file", "file write")
    return isinstance(error, OSError) or any(sign in text for sign in wrapped)


def load_run(path: str | Path, weights: str = "best") -> nn.Module:
    """Rebuild the network of a run, in eval mode, on the CPU.

    Args:
        path: The run directory.
        weights: "best" or "last".

    Raises:
        RunError: The run is damaged or has no such weights.
    """
    from qcli.training.revival import revive_run

    return revive_run(Path(path), weights).model.eval()
