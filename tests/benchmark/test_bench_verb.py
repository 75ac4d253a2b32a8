"""`qcli bench` as people type it, with cases of a few numbers."""

import json
import sys

import pytest

from qcli.benchmark import cases, machine
from qcli.benchmark.case import Arm, Comparison, Goal, Quantity
from qcli.cli import main

COLUMNS = ("case", "what", "goal", "median", "quartiles", "rounds", "arms", "verdict")
RESULT = ["schema_version", "machine", "images", "most_rounds", "results"]


@pytest.fixture
def bench(monkeypatch, capsys):
    """Return a function that runs `qcli bench`: the exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["qcli", "bench", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    monkeypatch.setattr(machine, "read_load", lambda: 0.0)
    return run


@pytest.fixture
def only(monkeypatch):
    """Return a function that makes a case the only one."""
    return lambda case: monkeypatch.setattr(cases, "CASES", (case,))


def test_without_a_case_the_cases_are_listed(bench):
    code, out, err = bench()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [case.name for case in cases.CASES]
    line = next(line for line in lines if line.startswith("program-search-2b"))
    assert ">= 2" in line


def test_the_list_as_json(bench):
    code, out, _ = bench("--json")
    document = json.loads(out)
    assert (code, document["schema_version"]) == (0, 1)
    found = {case["name"]: case for case in document["cases"]}
    assert list(found) == [case.name for case in cases.CASES]
    assert found["gpu-brevitas"]["needs"] == ["cuda", "brevitas"]
    assert found["pipeline"]["comparisons"] == [
        {
            "arm": "qcli",
            "base": "torchvision",
            "quantity": "speed_ratio",
            "goal": {"at_least": 15.0},
        }
    ]


def test_a_case_is_run_and_told(bench, only, make_case, readings_of):
    only(make_case({"a": readings_of(2.0, images=8), "b": readings_of(1.0, images=4)}))
    code, out, err = bench("fake", "--rounds", "6")
    assert code == 0
    header, row = out.splitlines()
    assert header.split() == list(COLUMNS)
    assert "time, a / b" in row
    # 2 s for 8 images against 1 s for 4.
    assert "a 2,000.0 ms (4 images/s), b 1,000.0 ms (4 images/s)" in row
    assert row.split()[-1] == "met"
    assert "fake: time, a / b: 1, met" in err


def test_results_as_json(bench, only, make_case, readings_of):
    only(make_case({"a": readings_of(1.5), "b": readings_of(1.0)}))
    code, out, _ = bench("--all", "--json")
    document = json.loads(out)
    assert code == 0
    assert list(document) == RESULT
    assert (document["schema_version"], document["images"]) == (1, "random")
    (row,) = document["results"]
    assert row["ratio"] == {"median": 1.5, "p25": 1.5, "p75": 1.5, "rounds": 30}
    assert row["verdict"] == "missed"
    assert document["machine"]["threads"] >= 1


def test_a_busy_machine_is_refused(bench, only, make_case, readings_of, monkeypatch):
    only(make_case({"a": readings_of(1.0), "b": readings_of(1.0)}))
    monkeypatch.setattr(machine, "read_load", lambda: 99.0)
    monkeypatch.setattr(machine, "count_cores", lambda: 4)
    code, out, err = bench("fake")
    assert (code, out) == (1, "")
    assert err.startswith("error: the 1-minute load average is 99.00 on 4 cores, more than 2:")
    code, out, _ = bench("fake", "--busy", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["results"][0]["verdict"] == "machine was busy"
    assert document["machine"]["load"] == 99.0


def test_absolute_numbers_have_units(bench, only, make_case, readings_of):
    seconds = Comparison("a", None, Quantity.SECONDS, Goal(at_most=0.25))
    speed = Comparison("b", None, Quantity.IMAGES_PER_SECOND, Goal(at_least=12_000.0))
    arms = {"a": readings_of(0.2), "b": readings_of(0.5, images=5000)}
    only(make_case(arms, seconds, speed))
    _, out, _ = bench("fake")
    assert "<= 0.25 s" in out
    assert ">= 12,000 images/s" in out
    assert "10,000 images/s" in out
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["met", "missed"]


def test_bytes_are_told_in_gigabytes(bench, only, make_case):
    extra = Comparison("a", "b", Quantity.EXTRA_BYTES, Goal(at_most=0.3e9))
    only(make_case({"a": Arm(lambda: 1.25e9), "b": Arm(lambda: 1e9)}, extra))
    _, out, _ = bench("fake")
    assert "<= 0.300 GB" in out
    assert "0.250 GB" in out


def test_a_failed_case_ends_with_1_after_the_others(bench, only, make_case):
    def break_down():
        raise ValueError("no such thing")

    only(make_case({"a": Arm(break_down), "b": Arm(break_down)}))
    code, out, err = bench("fake")
    assert code == 1
    assert out.splitlines()[1].split()[-1] == "failed"
    assert "ValueError: no such thing" in err
    assert err.splitlines()[-1] == "error: what failed: fake"
    assert "Traceback" not in err


def test_interrupted_without_a_traceback(bench, only, make_case):
    def interrupt():
        raise KeyboardInterrupt

    only(make_case({"a": Arm(interrupt), "b": Arm(interrupt)}))
    code, _, err = bench("fake")
    assert code == 130
    assert err.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["startpu"], 'no case "startpu" (did you mean "startup"?)'),
        (["--all", "startup"], "--all runs every case; leave out the names, or --all"),
        (["--rounds", "3"], "--rounds needs a CASE to run, or --all"),
        (["--busy"], "--busy needs a CASE to run, or --all"),
        (["-p", "x"], "--data-dir needs a CASE to run, or --all"),
        (["startup", "-p", "x"], "those that read images: pipeline, packed-pipeline"),
        (["startup", "--rounds", "0"], "--rounds"),
    ],
)
def test_what_makes_no_sense_is_refused(bench, arguments, told):
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert told in err
