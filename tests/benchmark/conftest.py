"""Cases of a few numbers, which no machine makes slow."""

import sys
from types import ModuleType

import pytest

from qcli.benchmark.case import Arm, Case, Comparison, Goal, Quantity


@pytest.fixture
def make_case(monkeypatch):
    """Return a function from arms to a case that has them.

    The arms are a dict by name, or a function of the scope.
    """

    def make(arms, *comparisons, **fields):
        module = ModuleType("fake_arms")
        module.prepare = arms if callable(arms) else lambda scope: arms
        monkeypatch.setitem(sys.modules, "fake_arms", module)
        rows = comparisons or (Comparison("a", "b", Quantity.TIME_RATIO, Goal(at_most=1.2)),)
        return Case("fake", "a / b", "fake_arms:prepare", rows, **fields)

    return make


@pytest.fixture
def readings_of():
    """Return a function from numbers to an arm whose units return them in turn, endlessly last."""

    def make(*numbers, images=0):
        left = list(numbers)
        return Arm(lambda: left.pop(0) if len(left) > 1 else left[0], images)

    return make
