"""Figures of reports: what they leave out, what they are called, whose colors they have."""

import re
from pathlib import Path

import pytest

from qcli.quantization.distribution import Distribution, Histogram
from qcli.reporting.report.courses import draw_courses, draw_level_course
from qcli.reporting.report.curves import draw_curves
from qcli.reporting.report.levels import draw_distribution
from qcli.reporting.report.page import label_runs
from qcli.reporting.report.picture import INK, drawing, make_name
from qcli.reporting.report.writing import filled
from qcli.training.run_account import RunAccount


def make_account(*rows, path="runs/a", **fields):
    return RunAccount(Path(path), {}, rows=rows, **fields)


def make_rows(**numbers):
    return [
        {"epoch": epoch, "health": {"fc.weight": {name: each[epoch - 1] for name, each in pairs}}}
        for pairs in [numbers.items()]
        for epoch in (1, 2)
    ]


@pytest.fixture(autouse=True)
def _style():
    with drawing():
        yield


def test_every_level_has_a_marker_and_every_used_one_a_bar():
    histogram = Histogram(-1.0, 1.0, (1, 2, 3, 4), 0)
    levels, used = (-1.0, 0.0, 0.5, 1.0), (4, 0, 3, 3)
    svg = draw_distribution(
        Distribution("a", "weight", 10, histogram, levels=levels, used=used), 1
    ).svg
    markers = re.findall(r"<use [^>]*fill: #e8710a", svg)
    assert len(markers) == 2 * len(levels)
    assert svg.count(">after: 4 levels<") == 1
    shapes = [path.count("M ") for path in re.findall(r'<path d="([^"]*)"[^>]*fill: #3b7dd8', svg)]
    assert sum(1 for each in used if each) in shapes


def test_a_bar_that_dwarfs_the_others_is_cut_and_its_share_told():
    histogram = Histogram(0.0, 1.0, (90, 5, 5), 0)
    tall = draw_distribution(Distribution("a", "input", 100, histogram), 1)
    assert ">90 %<" in tall.svg
    even = draw_distribution(Distribution("a", "input", 15, Histogram(0.0, 1.0, (5,) * 3, 0)), 1)
    assert " %<" not in even.svg


def test_numbers_that_are_always_0_are_not_drawn():
    drawn = draw_courses(make_account(*make_rows(unused=[0, 0], flips=[0.5, 0.0])))
    assert [picture.name for picture in drawn] == ["course-flips"]


def test_levels_are_followed_where_every_epoch_has_as_many():
    rows = [{"epoch": epoch, "levels": {"fc.weight": [-epoch, 0.0, epoch]}} for epoch in (1, 2)]
    assert "levels over epochs" in draw_level_course(make_account(*rows), "fc.weight", 1).svg
    rows[1]["levels"]["fc.weight"].pop()
    assert draw_level_course(make_account(*rows), "fc.weight", 1) is None
    assert draw_level_course(make_account(), "fc.weight", 1) is None


def test_curves_are_those_that_runs_have():
    rows = [{"epoch": 1, "val_top1": 0.5, "train_top1": float("nan"), "temperature": None}]
    assert [picture.name for picture in draw_curves({"a": make_account(*rows)})] == ["top1"]
    assert draw_curves({"a": make_account()}) == []


def test_training_curves_of_many_runs_are_left_out():
    row = {"epoch": 1, "val_top1": 0.5, "train_top1": 0.25}
    few = draw_curves({name: make_account(row, row) for name in "ab"})[0].svg
    many = draw_curves({name: make_account(row, row) for name in "abcd"})[0].svg
    assert "stroke-dasharray" in few
    assert ">25<" in few
    assert ">25<" not in many


def test_a_page_has_its_own_colors_and_no_second_ids():
    (picture,) = draw_curves({"a": make_account({"epoch": 1, "val_top1": 0.5})})
    assert INK in picture.svg
    assert INK not in picture.inline
    assert "var(--ink)" in picture.inline
    assert 'id="figure' not in picture.inline
    assert picture.inline.startswith("<svg viewBox=")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("../../etc/passwd", "etc_passwd"),
        ("a/b\0c<d>", "a_b_c_d"),
        ("...", "figure"),
        ("x" * 500, "x" * 80),
    ],
)
def test_names_of_files_are_safe(text, name):
    assert make_name(text) == name


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a/run", "b/run", "c/other"], ["a/run", "b/run", "other"]),
        (["a/seed0", "a/seed1"], ["a/seed0", "a/seed1"]),
        (["work/row/seed0"], ["row/seed0"]),
        (["a/seed0/x", "b/seed0/x"], ["a/seed0/x", "b/seed0/x"]),
    ],
)
def test_runs_are_called_by_as_many_folders_as_tell_them_apart(paths, labels):
    accounts = [make_account(path=path) for path in paths]
    assert list(label_runs(accounts, ())) == labels
    given = [f"label {number}" for number, _ in enumerate(paths)]
    assert list(label_runs(accounts, given)) == given


def fill_until_full(folder):
    with filled(folder) as place:
        (place / "figures").mkdir()
        (place / "page").touch()
        raise OSError("full")


def test_a_folder_is_filled_or_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (Path(), Path("new")):
        with pytest.raises(OSError, match="full"):
            fill_until_full(folder)
        assert list(tmp_path.iterdir()) == []
    for folder in (Path("new"), Path()):
        with filled(folder) as place:
            (place / "page").touch()
        assert (folder / "page").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"new", "page"}
