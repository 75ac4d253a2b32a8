"""What `qcli diff` tells of two runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qcli.campaign.changes import ABSENT
from qcli.reporting.console import percent, print_data
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.campaign.changes import Change
    from qcli.campaign.run_difference import RunDifference

SCHEMA_VERSION = 1
LONGEST_VALUE = 60
# Of longer sections the first lines are shown; --json has all.
MOST_LINES = 25


def print_difference(difference: RunDifference) -> None:
    """Print what differs to stdout, section by section, and at last whether it is the same."""
    same = [name for name, changes in difference.sections.items() if not changes]
    for name, changes in difference.sections.items():
        if changes:
            _print_changes(name, changes, difference)
    if difference.told:
        _print_changes("without effect", difference.told, difference)
    _print_courses(difference)
    _print_weights(difference)
    if same:
        print_data(f"the same: {', '.join(same)}")
    first, second = difference.paths
    verdict = "the same run twice" if difference.is_same else "not the same"
    print_data(f"{first} and {second}: {verdict}")


def _print_changes(name: str, changes: Sequence[Change], difference: RunDifference) -> None:
    first, second = map(str, difference.paths)
    rows = [[each.pointer, _short(each.first), _short(each.second)] for each in changes]
    print_table((name, first, second), rows[:MOST_LINES])
    if len(rows) > MOST_LINES:
        print_data(f"and {len(rows) - MOST_LINES} more; --json tells all")
    print_data("")


def _short(value: Any) -> str:
    text = "nothing" if value is ABSENT else json.dumps(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _print_courses(difference: RunDifference) -> None:
    first, second = difference.epochs
    common = min(first, second)
    if first != second:
        print_data(f"epochs: {first} and {second}; the first {common} are compared")
    if not difference.courses:
        epochs = "1 epoch" if common == 1 else f"{common} epochs"
        print_data(f"metrics: the same in {epochs}, bit for bit")
        return
    columns = ("metrics", "differs from epoch", "largest difference")
    rows = [
        [each.column, str(each.first_epoch), "" if each.largest is None else f"{each.largest:.3g}"]
        for each in difference.courses
    ]
    print_table(columns, rows)
    print_data("")


def _print_weights(difference: RunDifference) -> None:
    weights = difference.weights
    if weights.are_same is None:
        missing = " and ".join(
            str(path)
            for path, each in zip(difference.paths, weights.hashes, strict=True)
            if each is None
        )
        print_data(f"{weights.name} weights: {missing} has none yet")
        return
    if weights.are_same:
        print_data(f"{weights.name} weights: the same, bit for bit (SHA-256 {weights.hashes[0]})")
        return
    if not weights.layers:
        print_data(f"{weights.name} weights: the same, in files that differ")
        return
    rows = [
        [each.layer or "norms, biases and the rest", _share(each.codes), _share(each.values)]
        for each in weights.layers
    ]
    print_table((f"{weights.name} weights", "codes that differ", "values that differ"), rows)
    print_data("")


def _share(fraction: float | None) -> str:
    return "" if fraction is None else percent(fraction)


def difference_to_json(difference: RunDifference) -> dict[str, Any]:
    """Return what differs as JSON; shares are 0..1."""
    weights = difference.weights
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": [str(path) for path in difference.paths],
        "same": difference.is_same,
        "changes": {
            name.replace(" ", "_"): [each.to_json() for each in changes]
            for name, changes in difference.sections.items()
        },
        "told": [each.to_json() for each in difference.told],
        "epochs": list(difference.epochs),
        "metrics": [vars(each) for each in difference.courses],
        "weights": {
            "which": weights.name,
            "sha256": list(weights.hashes),
            "same": weights.are_same,
            "layers": [vars(each) for each in weights.layers],
        },
    }
