"""What the files of a run tell, whatever state it is in; the network is not needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from qcli.errors import RunError
from qcli.training.run_directory import RunDirectory

Point = tuple[int, float]


@dataclass(frozen=True)
class RunAccount:
    """The files of a run.

    Args:
        path: Its directory.
        record: run.json.
        rows: The metrics of every epoch that has ended.
        plan: plan.json; empty where it is not there.
        training: The effective training recipe.
        quantization: The effective quantization recipe; empty: float.
        result: result.json; empty while the run is not finished.
        certificate: verify.json; empty where nothing was verified.
        damage: What could not be read, one sentence each.
    """

    path: Path
    record: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    damage: tuple[str, ...] = ()

    def series(self, key: str) -> list[Point]:
        """Return (epoch, value) of a column wherever it is a finite number."""
        return _points((row.get("epoch"), row.get(key)) for row in self.rows)

    def course(self, place: str, name: str) -> list[Point]:
        """Return (epoch, value) of what the health watch recorded of "layer.slot"."""
        return _points(
            (row.get("epoch"), part_of(part_of(row, "health"), place).get(name))
            for row in self.rows
        )

    def places(self) -> list[str]:
        """Return every "layer.slot" that the health watch recorded."""
        return list(dict.fromkeys(key for row in self.rows for key in part_of(row, "health")))

    def levels(self, place: str) -> list[list[Point]]:
        """Return the course of each level of "layer.slot", from the lowest up.

        Empty where epochs have no levels, or not the same number of them.
        """
        listed = [(row.get("epoch"), part_of(row, "levels").get(place)) for row in self.rows]
        kept = [(epoch, each) for epoch, each in listed if isinstance(each, list)]
        if len({len(each) for _, each in kept}) != 1:
            return []
        count = len(kept[0][1])
        return [_points((epoch, each[number]) for epoch, each in kept) for number in range(count)]


def read_account(path: Path) -> RunAccount:
    """Read the files of a run; those that are damaged are left out, and named.

    Raises:
        RunError: It is no run: run.json is missing or damaged.
    """
    run = RunDirectory(path)
    record = run.record()
    damage: list[str] = []

    def read(name: str) -> Mapping[str, Any]:
        if not (path / name).exists():
            return {}
        try:
            return run.read(name)
        except RunError as error:
            damage.append(str(error))
            return {}

    return RunAccount(
        path,
        record,
        _rows(run, damage),
        read("plan.json"),
        read("training.json"),
        read("quantization.json"),
        read("result.json"),
        read("verify.json"),
        tuple(damage),
    )


def _rows(run: RunDirectory, damage: list[str]) -> Sequence[Mapping[str, Any]]:
    try:
        return run.rows()
    except RunError as error:
        damage.append(str(error))
        return []


def part_of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the JSON object that lies under a key; empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def list_of(value: Mapping[str, Any], key: str) -> list[Any]:
    """Return the JSON array that lies under a key; empty where there is none."""
    found = value.get(key)
    return found if isinstance(found, list) else []


def _points(pairs: Any) -> list[Point]:
    return [(int(epoch), value) for epoch, value in pairs if is_number(epoch) and is_number(value)]


def is_number(value: Any) -> TypeGuard[int | float]:
    """Say whether a JSON value is a finite number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 53
