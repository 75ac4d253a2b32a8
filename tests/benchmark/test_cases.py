"""The list of cases: complete, light, and every case of it runs."""

import importlib
import math
import re
import subprocess
import sys

import pytest

from qcli.benchmark.case import Quantity
from qcli.benchmark.cases import CASES, CUDA, find_cases
from qcli.benchmark.protocol import Pace
from qcli.benchmark.requirement import PRESENT, missing
from qcli.benchmark.runner import Conditions, run_case
from qcli.errors import UsageError

# What the project promised.
PROMISED = {
    ("step-lsq-w4a4", "at_most", 1.2),
    ("step-sat-w4a4", "at_most", 1.2),
    ("step-dorefa-w4a4", "at_most", 1.2),
    ("step-lsq-weights", "at_most", 1.05),
    ("step-lq_nets-w2a2", "at_most", 1.25),
    ("compiled-lsq-w4a4", "at_most", 1.1),
    ("compiled-lsq-w4a4", "at_most", 1.0),
    ("search-k4", "at_most", 1.15),
    ("search-k4-memory", "at_most", 0.3e9),
    ("pipeline", "at_least", 15),
    ("program-search-2b", "at_least", 2),
    ("brevitas", "at_least", 1.5),
    ("optimizer-share", "at_most", 0.05),
    ("records", "at_most", 0.01),
    ("startup", "at_most", 0.25),
    ("startup", "at_most", 5),
    ("gpu-step-lsq-w4a4", "at_most", 1.1),
    ("gpu-resnet18-lsq-w4a4", "at_most", 1.1),
    ("gpu-resnet18-lsq-w4a4", "at_least", 12_000),
    ("gpu-epoch-search-1b", "at_most", 90 / 200),
    ("gpu-brevitas", "at_least", 4),
}
# Every other case takes seconds for each unit.
QUICK = {"records"}


def test_goals_are_those_promised():
    found = {
        (case.name, bound, value)
        for case in CASES
        for each in case.comparisons
        if each.goal
        for bound, value in vars(each.goal).items()
        if value is not None
    }
    assert found == PROMISED


def test_names():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", name) for name in names)
    assert all(set(case.needs) <= set(PRESENT) for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_prepares_a_case_exists(case):
    module, _, name = case.prepare.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_list_needs_no_torch():
    code = (
        "import sys, qcli.benchmark.cases, qcli.benchmark.result, qcli.benchmark.requirement, "
        "qcli.benchmark.machine, qcli.reporting.benchmark; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cases_are_found_by_name_in_the_order_of_the_list():
    found = find_cases(["startup", "pipeline", "startup"])
    assert [case.name for case in found] == ["pipeline", "startup"]


def test_an_unknown_case_is_told_with_the_nearest():
    with pytest.raises(UsageError, match=r'no case "startpu" \(did you mean "startup"\?\)'):
        find_cases(["startpu"])


def check(case):
    rows = run_case(case, Conditions(pace=Pace(rounds=1)))
    assert len(rows) == len(case.comparisons)
    for row in rows:
        need = missing(case)
        if need:
            assert row.verdict == f"needs {need}"
            continue
        assert row.error is None, row.reason
        counted = row.comparison.quantity is Quantity.EXTRA_BYTES
        assert row.verdict == "too few rounds" or counted
        assert math.isfinite(row.value.median)
        assert row.value.median > 0


@pytest.mark.parametrize("name", sorted(QUICK))
def test_a_quick_case_runs(name):
    check(*find_cases([name]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name not in QUICK], ids=lambda case: case.name
)
def test_every_case_runs(case):
    check(case)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "case", [case for case in CASES if CUDA in case.needs], ids=lambda case: case.name
)
def test_every_case_of_a_gpu_runs(case):
    check(case)
