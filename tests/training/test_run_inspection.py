"""Runs at a glance: their states, damaged ones, and where they lie."""

import json
import math
import os
from pathlib import Path

import pytest

from qcli.errors import UsageError
from qcli.training.owner import Owner
from qcli.training.run_finding import find_runs, is_run, read_runs
from qcli.training.run_inspection import read_overview

ROW = {
    **{"epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_top1": 0.5, "val_loss": 0.5},
    **{
        "val_top1": 0.75,
        "val_top5": 1.0,
        "train_seconds": 8.0,
        "val_seconds": 2.0,
        "images_per_second": 100.0,
    },
}
GONE = {**Owner.this_process().to_json(), "started": "1"}
AWAY = {**Owner.this_process().to_json(), "host": "elsewhere"}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes a run directory as training leaves it."""

    def make(name="run", *, rows=(), result=None, beat=None, **record):
        path = tmp_path / name
        path.mkdir(parents=True)
        whole = {
            **{"status": "running", "num_classes": 10, "data_root": None, "plugins": []},
            **{"threads": 1, "cpu": True, "num_processes": 1, "versions": {}},
            **{"recipes_sha256": "", "started": "2026-01-01T00:00:00+00:00"},
            **{"architecture": "lenet5", "dataset": "digits"},
            "process": Owner.this_process().to_json(),
        }
        write(path / "run.json", {**whole, **record})
        write(path / "training.json", {"epochs": 4, "select_by": "top1"})
        if rows:
            write(path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        if result:
            write(path / "result.json", result)
        if beat:
            write(path / "progress.json", beat)
        return path

    return make


def result_of(best):
    return {"best": best, "last": best, "epochs": 4, "train_seconds": 1.5}


def test_a_live_run_tells_how_far_it_is(make_run):
    rows = [ROW, {**ROW, "epoch": 2, "val_top1": 0.5}]
    beat = {"epoch": 3, "step": 5, "steps": 10, "seconds": 4.0}
    run = read_overview(make_run(rows=rows, beat=beat))
    assert (run.state, run.epochs, run.total_epochs, run.recipe) == ("running", 2, 4, "float")
    assert run.best == rows[0]
    assert run.fraction == 2.5 / 4
    assert run.seconds_left == pytest.approx(1.5 * 10)


def test_before_the_first_epoch_the_steps_tell_what_is_left(make_run):
    beat = {"epoch": 1, "step": 5, "steps": 10, "seconds": 4.0}
    run = read_overview(make_run(beat=beat))
    assert run.fraction == 0.125
    assert run.seconds_left == pytest.approx(3.5 * 8)
    assert read_overview(make_run("new")).seconds_left is None


def test_a_beat_of_an_epoch_that_has_ended_tells_nothing(make_run):
    beat = {"epoch": 1, "step": 10, "steps": 10, "seconds": 4.0}
    assert read_overview(make_run(rows=[ROW], beat=beat)).fraction == 0.25


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({}, "running"),
        ({"process": GONE}, "died"),
        ({"process": AWAY}, "unknown"),
        ({"process": None}, "unknown"),
        ({"status": "finished", "process": GONE}, "died"),
        ({"status": "failed", "error": "the loss is nan"}, "failed"),
        ({"status": "interrupted", "error": "signal 2"}, "interrupted"),
        ({"status": "well"}, "damaged"),
    ],
)
def test_states(make_run, record, state):
    run = read_overview(make_run(**record))
    assert run.state == state
    assert run.reason.startswith(record.get("error", ""))
    assert bool(run.reason) == (state != "running")


def test_a_result_means_finished(make_run):
    path = make_run(result=result_of({"epoch": 3, "top1": 0.9}), rows=[ROW], process=GONE)
    run = read_overview(path)
    assert (run.state, run.epochs, run.best["epoch"], run.rows) == ("finished", 4, 3, ())
    assert read_overview(path, with_rows=True).rows == [ROW]


def test_the_best_is_the_one_that_was_selected(make_run):
    rows = [{**ROW, "val_loss": 0.2}, {**ROW, "epoch": 2, "val_loss": 0.3, "val_top1": 0.9}]
    rows.append({**ROW, "epoch": 3, "val_loss": math.nan, "val_top1": math.nan})
    path = make_run(rows=rows)
    assert read_overview(path).best["epoch"] == 2
    write(path / "training.json", {"epochs": 4, "select_by": "loss"})
    assert read_overview(path).best["epoch"] == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", "{}"),
        ("run.json", "\x00\xff"),
        ("training.json", "{}"),
        ("training.json", '{"epochs": "4"}'),
        ("training.json", '{"epochs": -4}'),
        ("quantization.json", "7"),
        ("result.json", "{}"),
        ("result.json", json.dumps(result_of({"top1": "best", "epoch": 1}))),
        ("result.json", json.dumps(result_of({"top1": 10**400, "epoch": 1}))),
        ("metrics.jsonl", '{"epoch": 1}\n'),
        ("metrics.jsonl", "[]\n"),
        ("metrics.jsonl", json.dumps({**ROW, "train_seconds": math.nan}) + "\n"),
    ],
)
def test_a_damaged_run_is_told_with_the_file(make_run, name, text):
    path = make_run()
    write(path / name, text)
    run = read_overview(path)
    assert run.state == "damaged"
    assert name in run.reason or str(path) in run.reason


@pytest.mark.parametrize(
    "beat", ["{", "[]", "{}", '{"epoch": 1, "step": 1, "steps": 0, "seconds": 1}']
)
def test_a_damaged_beat_is_passed_over(make_run, beat):
    run = read_overview(make_run(beat=beat))
    assert (run.state, run.beat) == ("running", None)


def test_bytes_that_are_no_text(make_run):
    path = make_run()
    (path / "metrics.jsonl").write_bytes(b"\xff\xfe\x00\n")
    assert read_overview(path).state == "damaged"


def test_runs_are_found_in_the_folders_of_campaigns(make_run, tmp_path):
    made = [make_run("b"), make_run("compare/id/seed0"), make_run("reproduce/id/seed1")]
    make_run("too/deep/for/any/campaign")
    make_run(".hidden")
    (tmp_path / "notes").mkdir()
    assert sorted(find_runs(tmp_path)) == made
    assert list(find_runs(made[0])) == [made[0]]


def test_nothing_is_looked_for_inside_a_run(make_run):
    path = make_run("run")
    make_run("run/inner")
    assert list(find_runs(path.parent)) == [path]


def test_a_run_that_lost_its_record_is_one(make_run):
    path = make_run(rows=[ROW])
    (path / "run.json").unlink()
    assert is_run(path)
    assert read_overview(path).state == "damaged"
    (path / "metrics.jsonl").unlink()
    # As a run that begins right now.
    assert not is_run(path)


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="allowed: a run directory, or a folder"):
        read_runs([tmp_path / name])


def test_live_runs_come_first_then_the_newest(make_run, tmp_path):
    done = {"result": result_of({"epoch": 1, "top1": 0.5})}
    make_run("old", started="2026-01-01T00:00:00+00:00", **done)
    make_run("new", started="2026-01-03T00:00:00+00:00", **done)
    make_run("live", started="2026-01-02T00:00:00+00:00")
    assert [run.path.name for run in read_runs([tmp_path])] == ["live", "new", "old"]
    assert len(read_runs([tmp_path, Path(tmp_path / "old")])) == 3


def test_nothing_is_written_or_locked(make_run):
    path = make_run(rows=[ROW])
    (path / ".lock").touch()
    before = {each.name: each.stat().st_mtime_ns for each in path.iterdir()}
    path.chmod(0o500)
    try:
        assert read_overview(path).state == "running"
    finally:
        path.chmod(0o700)
    assert {each.name: each.stat().st_mtime_ns for each in path.iterdir()} == before
    locks = Path("/proc/locks")
    if locks.exists():
        number = str((path / ".lock").stat().st_ino)
        assert number not in locks.read_text()
    assert os.access(path, os.W_OK)
