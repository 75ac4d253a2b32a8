"""Ours against the published number, worked out by hand."""

import json
import math

import pytest

from qcli.campaign.job import Campaign
from qcli.campaign.outcome import MET, MISSED, NO_TARGET, SHORTENED, UNFINISHED, judge
from qcli.recipe.experiment import Row
from qcli.reporting.outcomes import print_outcomes, print_styled


def outcome(folder, tops, *, reported=0.95, tolerance=0.005, shortened=False, **fields):
    """Judge a row whose runs had these (best, last) accuracies; None: not finished."""
    row = Row("x", "lenet5", "r", reported={"top1": reported} if reported else {}, **fields)
    jobs = Campaign(folder, tuple(range(len(tops)))).jobs([row])
    for job, top in zip(jobs, tops, strict=True):
        if top is not None:
            job.path.mkdir(parents=True)
            value = {"best": {"top1": top[0]}, "last": {"top1": top[1]}}
            (job.path / "result.json").write_text(json.dumps(value))
    return judge(jobs, tolerance, shortened=shortened)


def test_mean_and_spread(tmp_path):
    found = outcome(tmp_path, [(0.94, 0.9), (0.95, 0.9), (0.96, 0.9)])
    assert found.mean == pytest.approx(0.95)
    assert found.spread == pytest.approx(0.01)  # sqrt((1 + 0 + 1) / 2) hundredths
    assert found.difference == pytest.approx(0)
    assert math.isclose(sum(found.scores.last) / 3, 0.9)


def test_one_seed_has_no_spread(tmp_path):
    assert outcome(tmp_path, [(0.94, 0.9)]).spread is None


@pytest.mark.parametrize(
    ("best", "verdict"), [(0.96, MET), (0.95, MET), (0.945, MET), (0.9449, MISSED), (0.9, MISSED)]
)
def test_the_tolerance_is_the_border(tmp_path, best, verdict):
    assert outcome(tmp_path, [(best, 0.1)]).verdict == verdict


def test_the_row_says_which_epoch_counts(tmp_path):
    assert outcome(tmp_path, [(0.96, 0.9)], compare="last").verdict == MISSED


def test_what_cannot_be_judged_is_said(tmp_path):
    assert outcome(tmp_path / "a", [(0.9, 0.9)], reported=None).verdict == NO_TARGET
    assert outcome(tmp_path / "b", [(0.9, 0.9)], shortened=True).verdict == SHORTENED
    assert outcome(tmp_path / "c", [(0.9, 0.9), None]).verdict == UNFINISHED


def test_held_out_images_do_not_count(tmp_path):
    row = Row("x", "lenet5", "r", reported={"top1": 0.5})
    job = Campaign(tmp_path).job(row, 0)
    job.path.mkdir(parents=True)
    value = {"best": {"top1": 0.9}, "last": {"top1": 0.8}, "test": {"top1": 0.45}}
    (job.path / "result.json").write_text(json.dumps(value))
    found = judge([job], 0.0, shortened=False)
    assert (found.mean, found.verdict) == (0.45, MISSED)


def test_tables_for_papers(capsys, tmp_path):
    print_outcomes([outcome(tmp_path, [(0.96, 0.9)])], 0.005, None, "latex")
    assert capsys.readouterr().out.splitlines() == [
        r"\begin{tabular}{lrrrrrrr}",
        r"experiment & n & best & last & spread & published & difference & verdict \\",
        r"\hline",
        r"x & 1 & 96.00 & 90.00 &  & 95.00 & +1.00 & met \\",
        r"\end{tabular}",
    ]
    print_styled(("a_b", "10^9"), [["50 %", "~{}"]], "latex")
    out = capsys.readouterr().out
    assert r"a\_b & 10\textasciicircum{}9 \\" in out
    assert r"50 \% & \textasciitilde{}\{\} \\" in out
    print_styled(("a", "b"), [["x, y", 'say "z"']], "csv")
    assert capsys.readouterr().out == 'a,b\n"x, y","say ""z"""\n'
