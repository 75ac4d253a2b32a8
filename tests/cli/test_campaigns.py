"""`qcli reproduce` and `qcli compare` as people type them, on the embedded digits."""

import json
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.slow

RECIPE = {
    "name": "short",
    "architecture": {"name": "lenet5_caffe"},
    "dataset": {"name": "digits"},
    "epochs": 2,
    "batch_size": 64,
    "lr": 0.003,
    "optimizer": {"name": "adam"},
    "checkpoint_every_minutes": 0.001,
}
DEFAULTS = {"architecture": "lenet5_caffe", "training": "./short.train.json"}
ROWS = [
    {"id": "short-float", "reported": {"top1": 0.5}},
    {"id": "short-child", "quantization": "dorefa-w2a32", "init_from": "short-float"},
    {"id": "short-missed", "quantization": "dorefa-w1a32", "reported": {"top1": 1.0}},
]
SCORED = ("best", "last", "mean", "verdict")


@pytest.fixture
def folder(tmp_path):
    """A folder with a table of experiments and its training recipe."""
    (tmp_path / "short.train.json").write_text(json.dumps(RECIPE))
    table = {"name": "short", "summary": "x", "source": "here", "defaults": DEFAULTS, "rows": ROWS}
    (tmp_path / "short.json").write_text(json.dumps(table))
    return tmp_path


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "qcli", *arguments, "--cpu", "--threads", "1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, *arguments, code=0):
    process = start(folder, *arguments)
    out, errors = process.communicate()
    assert process.returncode == code, errors
    return out, errors


def scores(text):
    return {row["id"]: [row[key] for key in SCORED] for row in json.loads(text)["rows"]}


def test_a_table_is_reproduced(folder):
    words = ("reproduce", "./short.json", "--format", "json", "--tolerance", "0.1")
    out, errors = run(folder, *words, code=4)
    found = scores(out)
    assert [row[3] for row in found.values()] == ["met", "nothing published", "missed"]
    assert "1 of 3 rows missed: short-missed" in errors
    child = json.loads((folder / "runs/reproduce/short-child/seed0/run.json").read_text())
    assert child["init_from"].endswith("runs/reproduce/short-float/seed0")
    # Typed again, nothing is trained; in another format, the same numbers.
    again, errors = run(folder, *words, code=4)
    assert (scores(again), errors.count("finished before")) == (found, 3)
    table, _ = run(folder, *words[:2], "--format", "markdown", "--tolerance", "100")
    assert f"| {100 * found['short-child'][2]:.2f} |" in table


def test_a_killed_campaign_goes_on_to_the_same_numbers(folder):
    words = ("reproduce", "./short.json", "--jobs", "2", "--format", "json")
    whole, _ = run(folder, *words, "-o", "whole", code=4)
    told = ""
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = start(folder, *words, "-o", "parts")
        wait_for_an_epoch(process, folder / "parts", epochs=1 + (number == signal.SIGKILL))
        process.send_signal(number)
        _, errors = process.communicate()
        told += errors
        if number == signal.SIGTERM:
            assert process.returncode == 143
            assert "The same command goes on" in errors
    parts, errors = run(folder, *words, "-o", "parts", code=4)
    assert scores(parts) == scores(whole)
    # A kill between two runs leaves the next command nothing to go on with: any of them says so.
    assert "goes on in" in told + errors


def wait_for_an_epoch(process, folder, epochs):
    """Wait until all runs together have so many epochs behind them."""
    while process.poll() is None:
        files = folder.glob("*/seed0/metrics.jsonl")
        if sum(len(file.read_text().splitlines()) for file in files) >= epochs:
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate())


def test_rows_that_fit_no_network_are_told_before_anything_starts(folder):
    table = json.loads((folder / "short.json").read_text())
    table["rows"][1]["quantization"] = "search-1b"
    table["rows"][2]["quantization"] = "xnor-w1a1"
    (folder / "short.json").write_text(json.dumps(table))
    _, errors = run(folder, "reproduce", "./short.json", code=2)
    assert "short-child: layer fc1, weight: categorical: no batch norm follows" in errors
    assert "short-missed: " in errors
    assert not (folder / "runs").exists()


def test_the_folder_of_another_run_is_left_alone(folder):
    run(folder, "reproduce", "short-float", "./short.json", "--epochs-scale", "0.25")
    recipe = folder / "short.train.json"
    recipe.write_text(json.dumps(RECIPE | {"batch_size": 32}))
    _, errors = run(folder, "reproduce", "./short.json", "--epochs-scale", "0.25", code=2)
    assert "holds a run with another training recipe (batch_size)" in errors


def test_a_dry_run_tells_the_cost_and_trains_nothing(folder):
    out, errors = run(folder, "reproduce", "./short.json", "--dry-run", "--seeds", "2")
    assert len(out.splitlines()) == 1 + 2 * len(ROWS)
    assert "6 runs to do" in errors
    assert not (folder / "runs").exists()


def test_a_grid_is_trained_and_compared(folder):
    out, _ = run(
        folder,
        *("compare", "--grid", "-a", "lenet5_caffe", "--train-json", "./short.train.json"),
        *("--quant-json", "float", "--quant-json", "dorefa-w2a2", "--bits", "4/4"),
        *("--seeds", "2", "--jobs", "2", "--format", "json", "--plot", "plot.svg"),
    )
    found = json.loads(out)
    assert [row["method"] for row in found["rows"]] == ["float", "dorefa-w4a4"]
    assert found["unfairness"] == []
    assert all(len(row["runs"]) == 2 and row["spread"] is not None for row in found["rows"])
    assert ElementTree.parse(folder / "plot.svg").getroot().tag.endswith("svg")
    runs = [path for row in found["rows"] for path in row["runs"]]
    again, _ = run_compare(folder, *runs)
    assert json.loads(again) == found


def run_compare(folder, *runs):
    done = subprocess.run(
        [sys.executable, "-m", "qcli", "compare", *runs, "--format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


def test_submitit_runs_the_rows(folder):
    out, _ = run(
        folder,
        *("reproduce", "short-float", "short-child", "./short.json", "--format", "json"),
        *("--executor", "submitit:local", "--executor-option", "timeout_min=20"),
        *("--epochs-scale", "0.25"),
        code=0,
    )
    assert [row["verdict"] for row in json.loads(out)["rows"]][1] == "nothing published"
