"""Read a run directory at a glance, whatever state it is in; nothing is locked or written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from qcli.errors import RunError
from qcli.training import heartbeat
from qcli.training.owner import Owner
from qcli.training.run_directory import RunDirectory
from qcli.training.run_overview import Beat, RunOverview

# What each line of metrics.jsonl must tell to be shown.
NUMBERS = ("lr", "train_loss", "train_top1", "val_loss", "val_top1", "images_per_second")
COUNTS = ("epoch", "train_seconds", "val_seconds")
MOST = 2.0**53


def read_overview(path: Path, *, with_rows: bool = False) -> RunOverview:
    """Read a run, whatever state it is in; what cannot be read makes it "damaged".

    Args:
        path: A run directory.
        with_rows: Whether to read the epochs of a finished run, too.
    """
    try:
        return _read(path, with_rows)
    except RunError as error:
        return RunOverview(path, "damaged", str(error), started=_written(path))
    except OSError as error:
        reason = f"{error.filename or path}: {error.strerror or error}"
        return RunOverview(path, "damaged", reason, started=_written(path))


def _read(path: Path, with_rows: bool) -> RunOverview:
    run = RunDirectory(path)
    record, training = run.record(), run.read("training.json")
    state, reason = _state(run, record)
    overview = RunOverview(
        path,
        state,
        reason,
        architecture=_text(record, "architecture"),
        dataset=_text(record, "dataset"),
        recipe=_recipe(run),
        select_by=_text(training, "select_by") or "top1",
        total_epochs=_count(run, training, "epochs"),
        started=_time(record.get("started")),
        ended=_time(record.get("ended")),
    )
    if state == "finished" and not with_rows:
        return _finished(run, overview)
    rows = read_rows(run)
    seconds = sum(row["train_seconds"] for row in rows)
    return replace(
        overview,
        epochs=len(rows),
        best=_select(rows, overview.select_by),
        rows=rows,
        train_seconds=round(seconds, 3),
        beat=_beat(path, len(rows)) if overview.is_live else None,
    )


def _state(run: RunDirectory, record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the state and what is to be said of it."""
    if (run.path / "result.json").exists():
        return "finished", ""
    status = record["status"]
    if status in ("interrupted", "failed"):
        return status, _text(record, "error") or ""
    if status not in ("running", "finished"):
        raise RunError(f"{run.path / 'run.json'} is damaged: its status is {status!r}")
    return _live_state(run, record)


def _live_state(run: RunDirectory, record: Mapping[str, Any]) -> tuple[str, str]:
    owner = Owner.from_json(record.get("process"))
    if owner is None:
        return "unknown", "run.json does not say which process writes it"
    alive = owner.is_alive()
    if alive is None:
        return "unknown", f"process {owner.id} on {owner.host} cannot be seen from here"
    if alive:
        return "running", ""
    # It may have ended, in good order, after run.json was read.
    now = run.record()
    if now != record or (run.path / "result.json").exists():
        return _state(run, now)
    return "died", f"process {owner.id} is gone; it could not write down why"


def _recipe(run: RunDirectory) -> str | None:
    if not (run.path / "quantization.json").exists():
        return "float"
    return _text(run.read("quantization.json"), "name")


def read_rows(run: RunDirectory) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl; none before the first epoch has ended.

    Raises:
        RunError: They are damaged.
    """
    file = run.path / "metrics.jsonl"
    try:
        stat = file.stat()
    except FileNotFoundError:
        return []
    return _read_rows(file, stat.st_ino, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _read_rows(file: Path, number: int, written: int) -> list[dict[str, Any]]:
    """Read the epochs, once for each file: who watches a run asks every second."""
    try:
        rows = RunDirectory(file.parent).rows()
    except ValueError as error:
        raise RunError(f"{file} is damaged: {error}") from None
    for line, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not _is_epoch(row):
            raise RunError(f"{file} is damaged: line {line} is no epoch")
    return rows


def _is_epoch(row: Mapping[str, Any]) -> bool:
    return all(_is_number(row.get(name)) for name in NUMBERS) and all(
        _is_count(row.get(name)) for name in COUNTS
    )


def _select(rows: Sequence[Mapping[str, Any]], select_by: str) -> Mapping[str, Any] | None:
    """Return the row of the best epoch, the first of equal ones; NaN is worse than anything."""
    sign = -1.0 if select_by == "loss" else 1.0

    def merit(row: Mapping[str, Any]) -> float:
        value: Any = row.get(f"val_{select_by}")
        return sign * value if _is_number(value) and not math.isnan(value) else -math.inf

    return max(rows, key=merit, default=None)


def _finished(run: RunDirectory, overview: RunOverview) -> RunOverview:
    """Take from result.json what is there, without reading the epochs."""
    result = run.result()
    best, seconds = result["best"], result.get("train_seconds")
    if not (_is_number(best["top1"]) and _is_count(best.get("epoch")) and _is_count(seconds)):
        raise RunError(f"{run.path / 'result.json'} is damaged: it tells no best epoch or no time")
    return replace(
        overview,
        epochs=_count(run, result, "epochs"),
        best={"epoch": best["epoch"], "val_top1": best["top1"]},
        train_seconds=seconds,
    )


def _beat(path: Path, epochs: int) -> Beat | None:
    """Return how far the next epoch is; a file from before its beginning tells nothing."""
    file = path / heartbeat.NAME
    try:
        value = RunDirectory(path).read(heartbeat.NAME)
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        numbers = {name: value[name] for name in ("epoch", "step", "steps", "seconds")}
    except (RunError, OSError, KeyError):
        return None
    is_sound = all(_is_count(number) for number in numbers.values())
    if not is_sound or value["epoch"] != epochs + 1 or value["steps"] < 1:
        return None
    return Beat(**numbers, written=written)


def _text(value: Mapping[str, Any], key: str) -> str | None:
    found = value.get(key)
    return found if isinstance(found, str) else None


def _count(run: RunDirectory, value: Mapping[str, Any], key: str) -> int:
    found = value.get(key)
    if type(found) is not int or found < 0:
        raise RunError(f"{run.path} is damaged: {key} is {found!r}")
    return found


def _is_number(value: Any) -> bool:
    """Say whether a value is a number that can be shown; NaN, of a loss, is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MOST or value != value


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _time(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _written(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
