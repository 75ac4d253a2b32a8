"""What differs between two runs: what they were made of, and what came out."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qcli.campaign.changes import Change, find_changes
from qcli.deployment.hashing import hash_path
from qcli.errors import RunError
from qcli.training.run_directory import RunDirectory
from qcli.training.run_inspection import read_rows

# Parts of run.json by what they are about. The command line names the run directory, and the
# commit may be of another folder: they are told, and change nothing.
MADE_OF = ("architecture", "dataset", "num_classes", "pixels", "init_from", "teacher_sha256")
MACHINE = ("device", "threads", "num_processes", "compiled", "cpu")
TOLD = ("argv", "data_root", "plugins", "git_commit")
# How long something took is never the same.
TIMES = ("train_seconds", "val_seconds", "images_per_second")
# What tells nothing about a plan's row but how it came to be.
REASON = "because"


@dataclass(frozen=True)
class Course:
    """How a column of the metrics differs.

    Args:
        column: Its name.
        first_epoch: The first epoch in which it differs.
        largest: The largest difference; None where a value is missing or is no number.
    """

    column: str
    first_epoch: int
    largest: float | None


@dataclass(frozen=True)
class LayerDifference:
    """How the weights of a layer differ.

    Args:
        layer: Its dotted name; "" for all that belongs to no layer.
        codes: The share of codes that differ, 0..1; None where they cannot be compared.
        values: The share of deployed weights that differ; None where the shapes do.
    """

    layer: str
    codes: float | None
    values: float | None


@dataclass(frozen=True)
class WeightsDifference:
    """Whether two runs hold the same weights.

    Args:
        name: "best" or "last".
        hashes: SHA-256 of both files; None where there is none.
        layers: The layers that differ.
    """

    name: str
    hashes: tuple[str | None, str | None]
    layers: tuple[LayerDifference, ...] = ()

    @property
    def are_same(self) -> bool | None:
        """Whether they are, bit for bit; None where one of the runs has none."""
        return None if None in self.hashes else self.hashes[0] == self.hashes[1]


@dataclass(frozen=True)
class RunDifference:
    """What differs between two runs.

    Args:
        paths: Both.
        sections: Changes by what they are about; every section is there, also an empty one.
        epochs: How many epochs have ended in each.
        courses: The columns of the metrics that differ in the epochs that both have.
        weights: Whether the weights are the same.
        told: Changes that make no difference to what is trained.
    """

    paths: tuple[Path, Path]
    sections: Mapping[str, Sequence[Change]]
    epochs: tuple[int, int]
    courses: Sequence[Course]
    weights: WeightsDifference
    told: Sequence[Change] = field(default=())

    @property
    def is_same(self) -> bool:
        """Whether both are one run twice: made of the same, with the same result."""
        alike = not any(self.sections.values()) and not self.courses
        return alike and self.epochs[0] == self.epochs[1] and self.weights.are_same is not False


def compare_runs(first: Path, second: Path, weights: str) -> RunDifference:
    """Compare two runs, finished or not, by what they wrote; no network is built.

    Raises:
        RunError: One of them is no run, or is damaged.
    """
    runs = RunDirectory(first), RunDirectory(second)
    records = [run.record() for run in runs]
    rows = [read_rows(run) for run in runs]
    sections = {
        "training recipe": _compare(runs, "training.json"),
        "quantization recipe": _compare(runs, "quantization.json"),
        "start": _changes(*(_part(record, MADE_OF) for record in records)),
        "plan": _changes(*(_plan(run) for run in runs)),
        "versions": _changes(*(record["versions"] for record in records)),
        "machine": _changes(*(_part(record, MACHINE) for record in records)),
        "result": _changes(*(_result(run) for run in runs)),
    }
    return RunDifference(
        paths=(first, second),
        sections=sections,
        epochs=(len(rows[0]), len(rows[1])),
        courses=list(compare_courses(*rows)),
        weights=WeightsDifference(weights, (_hash(first, weights), _hash(second, weights))),
        told=_changes(*(_told(record) for record in records)),
    )


def compare_courses(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> Iterator[Course]:
    """Yield the columns of two tables of metrics that differ in the epochs that both have."""
    pairs = list(zip(first, second, strict=False))
    columns = dict.fromkeys(key for pair in pairs for row in pair for key in row)
    for column in columns:
        if column in TIMES:
            continue
        differing = [
            (one["epoch"], one.get(column), other.get(column))
            for one, other in pairs
            if next(find_changes(one.get(column), other.get(column)), None)
        ]
        if differing:
            yield Course(column, differing[0][0], _largest(differing))


def _largest(differing: Sequence[tuple[int, Any, Any]]) -> float | None:
    """Return the largest difference of pairs of numbers."""
    pairs = [(one, other) for _, one, other in differing]
    if not all(type(value) in (int, float) for pair in pairs for value in pair):
        return None
    largest = max(abs(one - other) for one, other in pairs)
    return None if math.isnan(largest) else largest


def _compare(runs: tuple[RunDirectory, RunDirectory], name: str) -> list[Change]:
    """Compare a JSON file; a float run has no quantization recipe."""
    return _changes(*(run.read(name) if (run.path / name).exists() else {} for run in runs))


def _changes(first: Any, second: Any) -> list[Change]:
    return list(find_changes(first, second))


def _part(record: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: record[key] for key in keys if record.get(key) is not None}


def _told(record: Mapping[str, Any]) -> dict[str, Any]:
    told = _part(record, TOLD)
    if isinstance(told.get("argv"), list):
        told["argv"] = shlex.join(map(str, told["argv"]))
    return told


def _plan(run: RunDirectory) -> dict[str, Any]:
    """Return the plan's rows by layer, without the words for their reasons."""
    rows = run.read("plan.json").get("layers")
    if not isinstance(rows, list):
        raise RunError(f"{run.path / 'plan.json'} is damaged: it has no layers")
    named = (row for row in rows if isinstance(row, Mapping) and "layer" in row)
    return {
        str(row["layer"]): {key: part for key, part in row.items() if key not in ("layer", REASON)}
        for row in named
    }


def _result(run: RunDirectory) -> dict[str, Any]:
    if not (run.path / "result.json").exists():
        return {}
    return {key: part for key, part in run.result().items() if key not in TIMES}


def _hash(run: Path, weights: str) -> str | None:
    file = run / f"{weights}.safetensors"
    return hash_path(file) if file.is_file() else None
