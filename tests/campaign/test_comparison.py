"""Runs side by side: grouped by what they are, and honest about what else differs."""

from pathlib import Path

import pytest

from qcli.campaign.comparison import Run, find_unfairness, group_runs

TRAINING = {
    "name": "r",
    "architecture": {"name": "lenet5", "activation": "relu"},
    "epochs": 5,
    "lr": {"kind": "constant", "start": 0.1},
    "seed": 0,
}


def make(method, best=0.9, seed=0, name="x", start=(), **changes):
    training = TRAINING | {"seed": seed} | changes
    quantization = {} if method == "float" else {"name": method, "default": name}
    cost = 32 if method == "float" else 2
    return Run(
        path=Path(f"{method}-{best}-{seed}-{name}-{changes}"),
        network="lenet5",
        dataset="mnist",
        method=method,
        training=training,
        quantization=quantization,
        start=dict(start),
        best=best,
        last=best - 0.1,
        weight_bytes=100 * cost,
        bit_operations=1000 * cost,
        train_seconds=1.0,
    )


def test_seeds_are_put_together():
    runs = [make("a", 0.9, 0), make("float", 0.8), make("a", 0.92, 1)]
    first, second = group_runs(runs)
    assert [run.training["seed"] for run in first.runs] == [0, 1]
    assert first.best == pytest.approx(0.91)
    assert first.last == pytest.approx(0.81)
    assert first.spread == pytest.approx(0.01 * 2**0.5)
    assert (second.first.method, second.spread) == ("float", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 6},
        {"architecture": {"name": "lenet5", "activation": "hardtanh"}},
        {"name": "other options"},
        {"start": {"init_from": "a run"}},
    ],
)
def test_another_run_is_another_contender(changes):
    assert len(group_runs([make("a"), make("a", best=0.5, **changes)])) == 2


def test_a_run_that_is_named_twice_counts_once():
    assert [len(each.runs) for each in group_runs([make("a"), make("a")])] == [1]


def test_a_fair_comparison_has_no_warnings():
    other = {"lr": {"start": 0.1, "kind": "constant"}, "note": "words", "workers": 3}
    assert find_unfairness(group_runs([make("a"), make("float", **other)])) == []


def test_what_differs_is_said():
    architecture = {"name": "lenet5", "activation": "hardtanh"}
    runs = [make("a"), make("float", epochs=6, seed=1, architecture=architecture)]
    assert find_unfairness(group_runs(runs)) == [
        'not the same architecture.activation: "relu", "hardtanh"',
        "not the same epochs: 5, 6",
        "not the same seed: [0], [1]",
    ]


def test_a_seed_that_counts_twice_is_said():
    runs = [make("a", 0.9), make("a", 0.8)]
    assert find_unfairness(group_runs(runs)) == ["a has the same seed more than once: [0, 0]"]
