"""What `qcli bench` prints: the cases, and what they came to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcli.benchmark.case import Case, Goal, Quantity
from qcli.benchmark.result import SCHEMA_VERSION, Row, Spread, case_to_json, row_to_json
from qcli.reporting.console import print_data, say
from qcli.reporting.tables import print_table

if TYPE_CHECKING:
    from qcli.benchmark.runner import Conditions

COLUMNS = ("case", "what", "goal", "median", "quartiles", "rounds", "arms", "verdict")


def print_cases(cases: Sequence[Case]) -> None:
    """Print the cases and their goals to stdout."""
    rows = [
        [case.name, _goals(case), ", ".join(case.needs) or "nothing", case.summary]
        for case in cases
    ]
    print_table(("case", "goal", "needs", "summary"), rows)


def print_cases_as_json(cases: Sequence[Case]) -> None:
    """Print the cases to stdout as JSON."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "cases": [case_to_json(case) for case in cases],
    }
    print_data(json.dumps(document, indent=2))


def print_machine(machine: Mapping[str, Any], data_root: Path | None) -> None:
    """Say what is measured on, and with what data."""
    load = "unknown" if machine["load"] is None else f"{machine['load']:.2f}"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    say(
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"load {load}; GPU: {machine['device'] or 'none'}; {versions}; "
        f"images: {data_root or 'random'}"
    )


def say_rows(rows: Sequence[Row]) -> None:
    """Say what one case came to, as soon as it did."""
    for row in rows:
        measured = f"{_number(row.value.median, row)}, " if row.value else ""
        reason = f": {row.reason}" if row.reason else ""
        say(f"{row.case.name}: {_what(row)}: {measured}{row.verdict}{reason}")


def print_results(rows: Sequence[Row]) -> None:
    """Print what all cases came to, to stdout."""
    print_table(COLUMNS, [_cells(row) for row in rows])


def print_results_as_json(
    rows: Sequence[Row], machine: Mapping[str, Any], conditions: Conditions
) -> None:
    """Print what all cases came to, to stdout, as JSON."""
    root = conditions.data_root
    document = {
        "schema_version": SCHEMA_VERSION,
        "machine": dict(machine),
        "images": str(root) if root else "random",
        "most_rounds": conditions.pace.rounds,
        "results": [row_to_json(row) for row in rows],
    }
    print_data(json.dumps(document, indent=2))


def _goals(case: Case) -> str:
    goals = [_goal(each.goal, each.quantity) for each in case.comparisons if each.goal]
    return "; ".join(goals) or "none"


def _goal(goal: Goal, quantity: Quantity) -> str:
    if goal.at_most is not None:
        return f"<= {_format(goal.at_most, quantity)}"
    assert goal.at_least is not None
    return f">= {_format(goal.at_least, quantity)}"


def _cells(row: Row) -> list[str]:
    goal = row.comparison.goal
    wished = _goal(goal, row.comparison.quantity) if goal else ""
    return [row.case.name, _what(row), wished, *_spread(row), _arms(row), row.verdict]


def _what(row: Row) -> str:
    arm, base = row.comparison.arm, row.comparison.base
    match row.comparison.quantity:
        case Quantity.TIME_RATIO:
            return f"time, {arm} / {base}"
        case Quantity.SPEED_RATIO:
            return f"images/s, {arm} / {base}"
        case Quantity.EXTRA_BYTES:
            return f"bytes, {arm} - {base}"
    return arm


def _spread(row: Row) -> list[str]:
    value: Spread | None = row.value
    if value is None:
        return ["", "", ""]
    quartiles = f"{_number(value.p25, row)} .. {_number(value.p75, row)}"
    return [_number(value.median, row), quartiles, str(value.rounds)]


def _arms(row: Row) -> str:
    """Return the speed of each arm: images per second where there are any."""
    parts = []
    for name, arm in row.arms.items():
        if arm.milliseconds is None:
            continue
        speed = f" ({arm.images_per_second:,.0f} images/s)" if arm.images_per_second else ""
        chosen = f" with {' '.join(arm.settings)}" if arm.settings else ""
        parts.append(f"{name}{chosen} {arm.milliseconds:,.1f} ms{speed}")
    return ", ".join(parts)


def _number(value: float, row: Row) -> str:
    return _format(value, row.comparison.quantity)


def _format(value: float, quantity: Quantity) -> str:
    match quantity:
        case Quantity.SECONDS:
            return f"{value:.3g} s"
        case Quantity.IMAGES_PER_SECOND:
            return f"{value:,.0f} images/s"
        case Quantity.EXTRA_BYTES:
            return f"{value / 1e9:.3f} GB"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3g}"
