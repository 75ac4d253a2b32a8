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

from qcli.errors import RunError, UsageError
from qcli.training.durable import is_disk_error, open_to_append, write_atomically
from qcli.training.false_start import clear_false_start
from qcli.training.new_run import require_new
from qcli.training.run_lock import RunLock

SCHEMA_VERSION = 1
# What run.json must tell for a run to be evaluated or gone on with.
RECORD_KEYS = (
    *("status", "num_classes", "data_root", "plugins", "threads", "cpu", "num_processes"),
    *("versions", "recipes_sha256"),
)


@dataclass
class RunDirectory:
    """A run's folder, locked while it is open for writing.

    Args:
        path: The folder.
        lock: Held by the process that writes; None where nothing is written.
    """

    path: Path
    lock: RunLock | None = None

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """Make a new run directory and lock it.

        Raises:
            UsageError: It exists and is not empty, or cannot be made.
            RunError: Another process writes it, or the disk refuses it.
        """
        require_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be made: {error.strerror}") from None
        run = cls(path)
        run.lock = RunLock.acquire(path)
        try:
            # Between the look and the lock another process can have made a whole run of it.
            require_new(path)
            clear_false_start(path)
        except OSError as error:
            run.release()
            raise RunError(f"{path} cannot be written to: {error.strerror}") from None
        except UsageError:
            run.release()
            raise
        return run

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """Open an existing run to go on with it, and lock it.

        Raises:
            RunError: It is no run, is damaged, or another process writes it.
            UsageError: It is finished.
        """
        run = cls(path)
        run.record()
        run.lock = RunLock.acquire(path)
        try:
            # Another process can have finished it since anyone looked.
            run.require_unfinished()
        except UsageError:
            run.release()
            raise
        return run

    def require_unfinished(self) -> None:
        """Refuse to go on with a run that has its result.

        Raises:
            UsageError: It has.
        """
        if (self.path / "result.json").exists():
            raise UsageError(f"{self.path} is finished; evaluate it: qcli eval {self.path}")

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
            RunError: The disk refuses it, or the folder is gone; the file that stood there before
                still stands.
        """
        if self.lock:
            self.lock.require_held()
        try:
            write_atomically(self.path / name, write)
        except Exception as error:
            if not is_disk_error(error):
                raise
            if self.lock:
                self.lock.require_held()
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
