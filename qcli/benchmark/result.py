"""What a case came to: ratios of rounds, their quartiles, and the verdict."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from qcli.benchmark.case import Arm, Case, Comparison, Goal, Quantity
from qcli.benchmark.protocol import LEAST_ROUNDS

SCHEMA_VERSION = 1
# Of the distance between the quartiles, over the median.
MOST_SPREAD = 0.08
UNITS = {
    Quantity.SECONDS: "seconds",
    Quantity.IMAGES_PER_SECOND: "images/s",
    Quantity.EXTRA_BYTES: "bytes",
}


@dataclass(frozen=True)
class Spread:
    """The middle of some numbers, and how far apart they lie."""

    median: float
    p25: float
    p75: float
    rounds: int

    @property
    def is_wide(self) -> bool:
        """Whether the numbers lie too far apart to be judged."""
        return self.p75 - self.p25 > MOST_SPREAD * abs(self.median)


@dataclass(frozen=True)
class ArmFigures:
    """How fast an arm was: medians; None where that is no question.

    Args:
        milliseconds: Of a unit.
        images_per_second: Where a unit has images.
        settings: What was chosen for this machine.
    """

    milliseconds: float | None
    images_per_second: float | None
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What one comparison of a case came to.

    Args:
        case: The case.
        comparison: What is compared.
        value: The number that is judged; None: nothing was measured.
        verdict: "met", "missed", "for the record", "machine was busy", "too noisy",
            "too few rounds", "needs ..." or "failed".
        arms: All arms of the case.
        error: Why it failed; None: it did not.
    """

    case: Case
    comparison: Comparison
    value: Spread | None
    verdict: str
    arms: Mapping[str, ArmFigures] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """Why it failed; empty: it did not."""
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"


def spread_of(values: Sequence[float]) -> Spread:
    """Return median and quartiles of at least one number."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def compare(
    comparison: Comparison, arms: Mapping[str, Arm], readings: Mapping[str, Sequence[float]]
) -> Spread:
    """Return what a comparison tells, taken in each round and then over rounds."""
    arm = readings[comparison.arm]
    images = arms[comparison.arm].images
    if comparison.quantity is Quantity.SECONDS:
        return spread_of(arm)
    if comparison.quantity is Quantity.IMAGES_PER_SECOND:
        return spread_of([images / seconds for seconds in arm])
    assert comparison.base is not None
    rounds = list(zip(arm, readings[comparison.base], strict=True))
    if comparison.quantity is Quantity.EXTRA_BYTES:
        return spread_of([own - base for own, base in rounds])
    # Arms without images do one unit of the same work each.
    share = (arms[comparison.base].images or 1) / (images or 1)
    ratios = [own / base * share for own, base in rounds]
    inverse = comparison.quantity is Quantity.SPEED_RATIO
    return spread_of([1 / ratio for ratio in ratios] if inverse else ratios)


def judge(value: Spread, goal: Goal | None, *, is_timed: bool, busy: bool) -> str:
    """Return the verdict on what was measured."""
    if is_timed and busy:
        return "machine was busy"
    if is_timed and value.rounds < LEAST_ROUNDS:
        return "too few rounds"
    if value.is_wide:
        return "too noisy"
    if goal is None:
        return "for the record"
    return "met" if goal.is_met(value.median) else "missed"


def figures(case: Case, arm: Arm, readings: Sequence[float]) -> ArmFigures:
    """Return how fast an arm was."""
    if not case.is_timed:
        return ArmFigures(None, None, arm.settings)
    seconds = statistics.median(readings)
    speed = arm.images / seconds if arm.images else None
    return ArmFigures(1000 * seconds, speed, arm.settings)


def row_to_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON: `ratio`, or `absolute` with its unit; null where nothing is known."""
    quantity, goal = row.comparison.quantity, row.comparison.goal
    value = asdict(row.value) if row.value else None
    is_ratio = quantity.is_ratio
    return {
        "case": row.case.name,
        "summary": row.case.summary,
        "arm": row.comparison.arm,
        "base": row.comparison.base,
        "quantity": quantity.value,
        "ratio": value if is_ratio else None,
        "absolute": None if is_ratio or value is None else {**value, "unit": UNITS[quantity]},
        "arms": {name: asdict(arm) for name, arm in row.arms.items()},
        "threads": row.case.threads,
        "goal": None if goal is None else _goal_to_json(goal),
        "verdict": row.verdict,
        "reason": row.reason,
    }


def case_to_json(case: Case) -> dict[str, Any]:
    """Return a case that was not run as JSON."""
    goals = [
        {
            "arm": each.arm,
            "base": each.base,
            "quantity": each.quantity.value,
            "goal": None if each.goal is None else _goal_to_json(each.goal),
        }
        for each in case.comparisons
    ]
    return {
        "name": case.name,
        "summary": case.summary,
        "comparisons": goals,
        "needs": list(case.needs),
        "threads": case.threads,
    }


def _goal_to_json(goal: Goal) -> dict[str, float]:
    return {name: bound for name, bound in asdict(goal).items() if bound is not None}
