"""A case leaves nothing behind, and takes no other case with it."""

import pytest
import torch

from qcli.benchmark.case import Arm, Comparison, Quantity
from qcli.benchmark.cases import CUDA
from qcli.benchmark.protocol import Pace
from qcli.benchmark.requirement import PRESENT
from qcli.benchmark.runner import Conditions, run_case

QUICK = Conditions(pace=Pace(rounds=5))


def test_a_case_is_measured_and_judged(make_case, readings_of):
    (row,) = run_case(make_case({"a": readings_of(1.1), "b": readings_of(1.0)}), QUICK)
    assert (row.verdict, row.value.rounds) == ("met", 5)
    assert row.value.median == pytest.approx(1.1)
    assert set(row.arms) == {"a", "b"}


def test_a_missing_need_is_a_row(make_case, monkeypatch):
    def prepare(scope):
        raise AssertionError

    monkeypatch.setitem(PRESENT, CUDA, lambda: False)
    (row,) = run_case(make_case(prepare, needs=(CUDA,)), QUICK)
    assert (row.verdict, row.value, row.reason) == ("needs cuda", None, "")


def test_a_failure_is_a_row(make_case):
    def break_down():
        raise ValueError("no such thing")

    (row,) = run_case(make_case({"a": Arm(break_down), "b": Arm(break_down)}), QUICK)
    assert (row.verdict, row.reason) == ("failed", "ValueError: no such thing")


def test_interruptions_pass(make_case):
    def interrupt():
        raise KeyboardInterrupt

    case = make_case({"a": Arm(interrupt), "b": Arm(interrupt)})
    with pytest.raises(KeyboardInterrupt):
        run_case(case, QUICK)


def test_threads_and_folder_are_of_the_case_alone(make_case, readings_of):
    seen = []

    def prepare(scope):
        seen.extend([scope.folder, torch.get_num_threads()])
        (scope.folder / "file").write_text("x")
        return {"a": readings_of(1.0), "b": readings_of(1.0)}

    before = torch.get_num_threads()
    run_case(make_case(prepare, threads=before + 1), QUICK)
    folder, threads = seen
    assert (threads, torch.get_num_threads()) == (before + 1, before)
    assert not folder.exists()


def test_what_is_counted_is_counted_once(make_case):
    calls = []

    def count():
        calls.append(1)
        return 12.0

    case = make_case(
        {"a": Arm(count), "b": Arm(lambda: 5.0)}, Comparison("a", "b", Quantity.EXTRA_BYTES)
    )
    (row,) = run_case(case, Conditions(busy=True))
    assert (row.value.median, row.verdict, len(calls)) == (7.0, "for the record", 1)
