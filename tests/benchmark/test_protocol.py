"""Arms take turns, a bounded number of times."""

from itertools import count

import pytest

from qcli.benchmark import protocol
from qcli.benchmark.case import Arm
from qcli.benchmark.protocol import LEAST_ROUNDS, Pace, take_turns


@pytest.fixture
def clock(monkeypatch):
    """A clock that shows whole seconds, one more at each look."""
    ticks = count()
    monkeypatch.setattr(protocol.time, "monotonic", lambda: float(next(ticks)))


def noting(calls, name):
    return Arm(lambda: calls.append(name))


def test_arms_take_turns_after_a_warm_up():
    calls = []
    take_turns({name: noting(calls, name) for name in "abc"}, Pace(rounds=2))
    assert "".join(calls) == "aaabbbccc" + "abcabc"


def test_a_returned_number_is_the_reading():
    numbers = count(1)
    assert take_turns({"a": Arm(lambda: float(next(numbers)))}, Pace(3)) == {"a": [4.0, 5.0, 6.0]}


def test_seconds_are_the_reading_otherwise(monkeypatch):
    times = iter([10.0, 10.5, 20.0, 22.0])
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: next(times))
    assert take_turns({"a": Arm(lambda: None)}, Pace(2)) == {"a": [0.5, 2.0]}


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("pace", "rounds"),
    [
        (Pace(rounds=30, seconds=0.0), LEAST_ROUNDS),
        (Pace(rounds=3, seconds=0.0), 3),
        # The clock is first looked at before round 6, and shows 1.
        (Pace(rounds=30, seconds=4.0), LEAST_ROUNDS + 4),
        (Pace(rounds=7, seconds=1000.0), 7),
    ],
)
def test_rounds_end_with_the_time_but_not_too_early(pace, rounds):
    assert len(take_turns({"a": Arm(lambda: 1.0)}, pace)["a"]) == rounds
