"""Runs as a table, as JSON and as a view."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from qcli.cli.runs_verb import STATES as CHOICES
from qcli.reporting import run_watch
from qcli.reporting.run_watch import make_view, print_run, show_course
from qcli.reporting.runs import (
    COLUMNS,
    STYLES,
    fit_table,
    print_runs,
    print_runs_as_json,
    printable,
    tell_age,
)
from qcli.training.run_overview import STATES, Beat, RunOverview

ROW = {
    **{"epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_top1": 0.5, "val_loss": 0.5},
    **{"val_top1": 0.75, "train_seconds": 8.0, "val_seconds": 2.0, "images_per_second": 100.0},
}
NOW = datetime.now(UTC)
LIVE = RunOverview(
    Path("runs/live"),
    "running",
    architecture="resnet20",
    dataset="cifar10",
    recipe="lsq-w4a4",
    epochs=1,
    total_epochs=4,
    beat=Beat(2, 5, 10, 4.0, NOW),
    best=ROW,
    rows=[ROW],
    started=NOW - timedelta(hours=3, minutes=1),
    train_seconds=8.0,
)
DAMAGED = RunOverview(Path("runs/a\x1b[31m[b]"), "damaged", "run.json is damaged:\nbecause")


def draw(what, width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    console.print(what)
    return console.file.getvalue()


def test_every_state_has_a_color_and_can_be_asked_for():
    assert set(STYLES) == set(STATES) == set(CHOICES)


def test_the_table_tells_all(capsys):
    print_runs([LIVE, DAMAGED])
    out, err = capsys.readouterr()
    head, live, damaged = out.splitlines()
    assert head.split("  ")[0] == "run"
    assert all(name in head for name in COLUMNS)
    for word in ("running", "1 of 4, 38 %", "75.00 % (1)", "25 s", "3 h ago", "lsq-w4a4"):
        assert word in live
    assert r"runs/a\x1b[31m[b]" in damaged
    assert "\x1b" not in out + err
    assert err == r"runs/a\x1b[31m[b]: damaged: run.json is damaged:" + "\n"


def test_json_is_whole(capsys):
    print_runs_as_json([LIVE, DAMAGED])
    document = json.loads(capsys.readouterr().out)
    live, damaged = document["runs"]
    assert document["schema_version"] == 1
    assert (live["step"], live["steps_of_epoch"], live["best_top1"]) == (5, 10, 0.75)
    assert live["seconds_left"] == pytest.approx(25)
    assert damaged["path"] == str(DAMAGED.path)
    assert set(live) == set(damaged)


@pytest.mark.parametrize(("width", "left_out"), [(200, set()), (70, {"training", "data set"})])
def test_a_narrow_terminal_has_fewer_columns(width, left_out):
    console = Console(width=width)
    lines = draw(fit_table([LIVE], console), width).splitlines()
    assert len(lines) == 2
    missing = {name for name in COLUMNS if name not in lines[0]}
    assert missing >= left_out
    assert bool(missing) == bool(left_out)


def test_the_view(capsys):
    text = draw(make_view(LIVE, Console(width=100)), 100)
    for word in ("resnet20 on cifar10 with lsq-w4a4", "step 5 of 10", "25 s left", "val top-1"):
        assert word in text
    print_run(LIVE)
    assert "epoch  train loss" in capsys.readouterr().out


def test_on_a_terminal_the_view_is_drawn_over(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(run_watch, "SafeConsole", lambda **_: console)
    done = replace(LIVE, state="finished")
    assert show_course([[LIVE], [done]]) == [done]
    text = console.file.getvalue()
    # The cursor goes up, and is shown again at the end.
    assert "\x1b[1A" in text
    assert text.rindex("\x1b[?25h") > text.rindex("finished") > text.index("running")
    assert show_course([[LIVE, done], [done, done]]) == [done, done]


def test_on_a_pipe_each_change_is_a_line(capsys):
    other = RunOverview(LIVE.path, "finished", epochs=1, total_epochs=4, rows=[ROW], best=ROW)
    last = show_course([[LIVE], [LIVE], [other]])
    assert last == [other]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["running", "finished"]
    assert "loss 1.0000  val 75.00 %  best 75.00 % (1)" in lines[0]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(5, "5 s ago"), (200, "3 min ago"), (7300, "2 h ago"), (200_000, "2 d ago"), (-50, "0 s ago")],
)
def test_ages(seconds, told):
    assert tell_age(datetime.now(UTC) - timedelta(seconds=seconds)) == told


def test_control_characters_are_spelled_out():
    assert printable("a\x1b[31m\n\tb\xe9") == "a\\x1b[31m\\n\\tb\xe9"
