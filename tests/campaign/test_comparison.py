"""Runs side by side: grouped by what they are, and honest about what else differs."""

from pathlib import Path

import pytest

from qcli.campaign.comparison import Run, find_unfairness, group_runs

TRAINING = {"name": "r", "epochs": 5, "lr": {"kind": "constant", "start": 0.1}, "seed": 0}


def make(method, best=0.9, seed=0, **changes):
    training = TRAINING | {"seed": seed} | changes
    cost = {"float": 32}.get(method, 2)
    return Run(
        *(Path(method), "lenet5", "mnist", method, training, best, best - 0.1),
        *(100 * cost, 1000 * cost, 1.0),
    )


def test_seeds_are_put_together():
    runs = [make("a", 0.9, 0), make("float", 0.8), make("a", 0.92, 1)]
    first, second = group_runs(runs)
    assert [run.training["seed"] for run in first.runs] == [0, 1]
    assert first.best == pytest.approx(0.91)
    assert first.last == pytest.approx(0.81)
    assert first.spread == pytest.approx(0.01 * 2**0.5)
    assert (second.first.method, second.spread) == ("float", None)


def test_another_training_is_another_contender():
    assert len(group_runs([make("a"), make("a", epochs=6)])) == 2


def test_a_fair_comparison_has_no_warnings():
    assert find_unfairness(group_runs([make("a"), make("float", note="words")])) == []


def test_what_differs_is_said():
    runs = [make("a"), make("float", epochs=6, seed=1)]
    assert find_unfairness(group_runs(runs)) == [
        "not the same epochs: 5; 6",
        "not the same seeds, and so not the same order of images: [(0,), (1,)]",
    ]
