"""Everything that a run leaves on disk: who writes it, and how it is read back."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from qcli.errors import RunError, UsageError
from qcli.training.durable import is_disk_error, open_to_append, write_atomically

SCHEMA_VERSION = 1
# What run.json must tell for a run to be evaluated or gone on with.
RECORD_KEYS = (
    *("status", "num_classes", "data_root", "plugins", "threads", "cpu", "num_processes"),
    *("versions", "recipes_sha256"),
)


def default_run_path(architecture: str, dataset: str, recipe: str) -> Path:
    """Return runs/<UTC stamp>-<architecture>-<dataset>-<recipe>, with a number where it exists.

    Of a family's member that is a path, the folders are left out.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    family, colon, member = architecture.partition(":")
    network = f"{family}{colon}{member.rpartition('/')[2]}"
    name = f"{stamp}-{network}-{dataset}-{recipe}".replace(":", "_").replace("/", "_")
    path, number = Path("runs") / name, 2
    while path.exists():
        path, number = Path("runs") / f"{name}-{number}", number + 1
    return path


def require_new(path: Path) -> None:
    """Refuse a run directory that is in use.

    Raises:
        UsageError: It exists and is not an empty folder, or cannot be one.
    """
    try:
        if not (path.exists() or path.is_symlink()) or (path.is_dir() and not any(path.iterdir())):
            return
        is_run = (path / "run.json").exists()
    except OSError as error:
        raise UsageError(f"{path} cannot be a run directory: {error.strerror}") from None
    go_on = f", or go on with it: qcli train --resume {path}" if is_run else ""
    raise UsageError(f"{path} exists and is never overwritten; choose another with -o{go_on}")


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
        except OSError as error:
            raise RunError(f"{self.path} cannot be written to: {error.strerror}") from None

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
        except NotADirectoryError:
            raise RunError(f"{self.path} is a file, allowed: a run directory") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{file} is damaged: {error}") from None
        if not isinstance(value, dict):
            raise RunError(f"{file} is damaged: it holds no JSON object")
        return value

    def require(self, name: str) -> Path:
        """Return a file of the run.

        Raises:
            RunError: It is not there; the message says what the run still has.
        """
        file = self.path / name
        if file.exists():
            return file
        if not self.rows():
            raise RunError(f"{file} does not exist: no epoch of this run has ended yet")
        left = sorted(path.name for path in self.path.glob("*.safetensors"))
        raise RunError(f"{file} is missing; the run has {', '.join(left) or 'no weights'}")

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

    def result(self) -> dict[str, Any]:
        """Read result.json.

        Raises:
            RunError: It is missing, damaged or not complete.
        """
        result = self.read("result.json")
        parts = [result.get(key) for key in ("best", "last")]
        if not all(isinstance(part, dict) and "top1" in part for part in parts):
            raise RunError(f"{self.path / 'result.json'} is damaged: it has no accuracies")
        return result

    def recipes_hash(self) -> str:
        """Return what tells the effective recipes of the run from others."""
        digest = hashlib.sha256()
        for name in ("training.json", "quantization.json"):
            file = self.path / name
            digest.update(file.read_bytes() if file.exists() else b"none")
        return digest.hexdigest()

    def require_recipes(self) -> None:
        """Refuse a run whose recipes are no longer those that it was made with.

        Raises:
            RunError: They were edited, exchanged or deleted.
        """
        if self.record()["recipes_sha256"] != self.recipes_hash():
            raise RunError(
                f"{self.path} was made with other recipes: its training.json or quantization.json "
                "has changed since; put it back, or start a new run with --init-from"
            )

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
        """Write metrics.jsonl, and metrics.csv without what is told by layer."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        self.write_file("metrics.jsonl", _text_writer(lines))
        table = io.StringIO()
        first = rows[0] if rows else {}
        columns = [name for name, value in first.items() if not isinstance(value, Mapping)]
        writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = table.getvalue()
        self.write_file("metrics.csv", _text_writer(text))

    def log(self, text: str) -> None:
        """Append a line to log.txt, with the time.

        Raises:
            RunError: The disk refuses it, or it is a link: those of a given run lead anywhere.
        """
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        file = self.path / "log.txt"
        try:
            with open_to_append(file) as log:
                log.write(f"{stamp} {text}\n".encode())
        except OSError as error:
            raise RunError(f"{file} cannot be written: {error.strerror or error}") from error


def _text_writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, "utf-8")

    return write
