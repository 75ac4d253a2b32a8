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
from qcli.training.new_run import explain_unmade, require_new
from qcli.training.run_files import ROW, parse_object, read_content, read_object
from qcli.training.run_lock import RunLock

SCHEMA_VERSION = 1


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
            raise explain_unmade(path, error) from None
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
            return read_object(file)
        except FileNotFoundError:
            what = "is no complete run" if self.path.is_dir() else "does not exist"
            raise RunError(f"{file} is missing: {self.path} {what}") from None
        except NotADirectoryError:
            raise RunError(f"{self.path} is a file, allowed: a run directory") from None
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror}") from None

    def require(self, name: str) -> Path:
        """Return a file of the run.

        Raises:
            RunError: It is not there; the message says what the run still has.
        """
        file = self.path / name
        if file.is_file():
            return file
        if file.exists():
            raise RunError(f"{file} is damaged: it is no file")
        if not self.rows():
            raise RunError(f"{file} does not exist: no epoch of this run has ended yet")
        left = sorted(path.name for path in self.path.glob("*.safetensors"))
        raise RunError(f"{file} is missing; the run has {', '.join(left) or 'no weights'}")

    def record(self) -> dict[str, Any]:
        """Read run.json.

        Raises:
            RunError: It is missing, damaged or not complete.
        """
        return self.read("run.json")

    def result(self) -> dict[str, Any]:
        """Read result.json.

        Raises:
            RunError: It is missing, damaged or not complete.
        """
        return self.read("result.json")

    def recipes_hash(self) -> str:
        """Return what tells the effective recipes of the run from others."""
        digest = hashlib.sha256()
        for name in ("training.json", "quantization.json"):
            file = self.path / name
            try:
                digest.update(read_content(file) if file.exists() else b"none")
            except OSError as error:
                raise RunError(f"{file} cannot be read: {error.strerror}") from None
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
        """Return the metrics of every epoch; a half-written last line is left out.

        Raises:
            RunError: Another line is damaged.
        """
        file = self.path / "metrics.jsonl"
        try:
            content = read_content(file)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror}") from None
        # What stands behind the last line break, no one has finished writing.
        return [
            parse_object(line, f"{file}, line {number}, is damaged", ROW)
            for number, line in enumerate(content.split(b"\n")[:-1], 1)
        ]

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
                log.write(f"{stamp} {text}\n".encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise RunError(f"{file} cannot be written: {error.strerror or error}") from error


def _text_writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, "utf-8")

    return write
