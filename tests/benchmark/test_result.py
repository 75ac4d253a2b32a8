"""Medians, quartiles and verdicts, by hand-computed numbers."""

import pytest

from qcli.benchmark.case import Arm, Case, Comparison, Goal, Quantity
from qcli.benchmark.result import Spread, compare, figures, judge, row_to_json, spread_of
from qcli.benchmark.runner import Row

READINGS = {"a": [2.0, 3.0, 8.0], "b": [1.0, 2.0, 2.0]}
EVEN = Spread(1.0, 0.99, 1.01, 5)


def nothing():
    return None


def test_spread():
    assert spread_of([4.0]) == Spread(4.0, 4.0, 4.0, 1)
    assert spread_of([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0, 5)


@pytest.mark.parametrize(
    ("quantity", "images", "medians"),
    [
        # Of 2, 1.5 and 4.
        (Quantity.TIME_RATIO, (0, 0), 2.0),
        (Quantity.TIME_RATIO, (10, 10), 2.0),
        # Ten times the images in twice the time.
        (Quantity.TIME_RATIO, (10, 1), 0.2),
        (Quantity.SPEED_RATIO, (10, 1), 5.0),
        (Quantity.SPEED_RATIO, (10, 10), 0.5),
        (Quantity.SECONDS, (10, 1), 3.0),
        (Quantity.IMAGES_PER_SECOND, (12, 1), 4.0),
        (Quantity.EXTRA_BYTES, (0, 0), 1.0),
    ],
)
def test_comparisons(quantity, images, medians):
    arms = {name: Arm(nothing, count) for name, count in zip("ab", images, strict=True)}
    assert compare(Comparison("a", "b", quantity), arms, READINGS).median == pytest.approx(medians)


@pytest.mark.parametrize(
    ("value", "goal", "verdict"),
    [
        (EVEN, Goal(at_most=1.0), "met"),
        (EVEN, Goal(at_most=0.999), "missed"),
        (EVEN, Goal(at_least=1.0), "met"),
        (EVEN, Goal(at_least=1.001), "missed"),
        (EVEN, None, "for the record"),
        (Spread(1.0, 0.97, 1.04, 5), Goal(at_most=2), "met"),
        (Spread(1.0, 0.95, 1.04, 5), Goal(at_most=2), "too noisy"),
        (Spread(1.0, 1.0, 1.0, 4), Goal(at_most=2), "too few rounds"),
    ],
)
def test_verdicts(value, goal, verdict):
    assert judge(value, goal, is_timed=True, busy=False) == verdict
    assert judge(value, goal, is_timed=True, busy=True) == "machine was busy"


def test_counts_are_judged_on_any_machine():
    assert judge(Spread(7, 7, 7, 1), Goal(at_most=7), is_timed=False, busy=True) == "met"


def case_of(comparison):
    return Case("x", "y", "z:z", (comparison,))


def test_figures():
    timed = case_of(Comparison("a", None, Quantity.SECONDS))
    found = figures(timed, Arm(nothing, 100, ("k=v",)), [0.5, 0.2, 1.0])
    assert (found.milliseconds, found.images_per_second) == (500.0, 200.0)
    assert found.settings == ("k=v",)
    counted = case_of(Comparison("a", "b", Quantity.EXTRA_BYTES))
    assert figures(counted, Arm(nothing), [5.0]).milliseconds is None


def test_json_of_rows():
    """Scripts read these keys: a change of them needs another schema_version."""
    ratio = Comparison("a", "b", Quantity.TIME_RATIO, Goal(at_most=1.2))
    document = row_to_json(Row(case_of(ratio), ratio, Spread(1.1, 1.0, 1.2, 9), "met"))
    assert document == {
        "case": "x",
        "summary": "y",
        "arm": "a",
        "base": "b",
        "quantity": "time_ratio",
        "ratio": {"median": 1.1, "p25": 1.0, "p75": 1.2, "rounds": 9},
        "absolute": None,
        "arms": {},
        "threads": None,
        "goal": {"at_most": 1.2},
        "verdict": "met",
        "reason": "",
    }
    absolute = Comparison("a", None, Quantity.SECONDS, Goal(at_least=0.0))
    document = row_to_json(Row(case_of(absolute), absolute, Spread(2.0, 2.0, 2.0, 9), "met"))
    assert document["ratio"] is None
    assert document["absolute"] == {
        "median": 2.0,
        "p25": 2.0,
        "p75": 2.0,
        "rounds": 9,
        "unit": "seconds",
    }
    assert document["goal"] == {"at_least": 0.0}


def test_json_of_what_was_not_measured():
    absolute = Comparison("a", None, Quantity.SECONDS)
    row = Row(case_of(absolute), absolute, None, "failed", error=ValueError("why"))
    document = row_to_json(row)
    assert (document["ratio"], document["absolute"], document["goal"]) == (None, None, None)
    assert document["reason"] == "ValueError: why"
