"""Precision, recall and F1, by hand and against scikit-learn."""

import json
import subprocess
import sys

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from qcli.training.class_counts import ClassCounts
from qcli.training.evaluation import Tally

CPU = torch.device("cpu")
RECIPE = {
    "name": "selected",
    "architecture": {"name": "lenet5"},
    "dataset": {"name": "digits"},
    "epochs": 3,
    "batch_size": 256,
    "lr": 0.003,
    "optimizer": {"name": "adam"},
}


def scores_of(likeliest, labels, num_classes):
    counts = ClassCounts(num_classes, CPU)
    for part in range(0, len(labels), 4):
        counts.add(torch.tensor(likeliest[part : part + 4]), torch.tensor(labels[part : part + 4]))
    return counts.read()


def test_scores_by_hand():
    """Class 0: right 2, named 3, present 2; class 1: 1, 1, 3; class 2: 1, 2, 1."""
    scores = scores_of([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 1, 2], 3)
    assert scores["precision"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert scores["recall"] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert scores["f1"] == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 3)


@pytest.mark.parametrize("num_classes", [2, 5, 40])
def test_scores_are_those_of_scikit_learn(num_classes):
    generator = torch.Generator().manual_seed(num_classes)
    likeliest, labels = torch.randint(num_classes, (2, 50), generator=generator).tolist()
    wanted = precision_recall_fscore_support(labels, likeliest, average="macro", zero_division=0)
    found = scores_of(likeliest, labels, num_classes)
    assert list(found.values()) == pytest.approx(wanted[:3])


def test_nothing_scores_nothing():
    assert ClassCounts(3, CPU).read() == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_a_tally_counts_classes_where_asked():
    logits = torch.tensor([[2.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
    plain, by_class = Tally(CPU), Tally(CPU, 2)
    for tally in (plain, by_class):
        tally.add(logits, torch.tensor([0, 1, 1]), torch.tensor(0.5))
    assert plain.read().class_scores == {}
    assert by_class.read().class_scores["recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert by_class.read().top1 == plain.read().top1


@pytest.mark.parametrize("name", ["f1", pytest.param("top5", marks=pytest.mark.slow)])
def test_a_run_selects_by_it(tmp_path, name):
    (tmp_path / "r.json").write_text(json.dumps(RECIPE | {"select_by": name}))
    command = [sys.executable, "-m", "qcli"]
    train = [*command, "train", "--cpu", "--train-json", "./r.json", "-o", "run"]
    done = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"the best epoch is selected by {name} on the test set" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    best = max(rows, key=lambda row: row[f"val_{name}"])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["best"]["epoch"], result["best"][name]) == (best["epoch"], best[f"val_{name}"])
    evaluate = [*command, "eval", "run", "--cpu", "--json"]
    done = subprocess.run(evaluate, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[name] == best[f"val_{name}"]
    assert ("val_f1" in rows[0]) is (name == "f1")
