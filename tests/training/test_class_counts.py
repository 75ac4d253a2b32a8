"""The confusion matrix is counted where it is asked for, and selects where a recipe says so."""

import json
import subprocess
import sys

import pytest
import torch

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


def test_rows_are_true_classes_and_columns_the_likeliest():
    counts = ClassCounts(3, CPU)
    counts.add(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
    counts.add(torch.tensor([2, 2]), torch.tensor([1, 2]))
    assert counts.read().tolist() == [[2, 0, 0], [1, 1, 1], [0, 0, 1]]


def test_what_was_read_is_not_counted_on():
    counts = ClassCounts(2, CPU)
    before = counts.read()
    counts.add(torch.tensor([1]), torch.tensor([0]))
    assert before.tolist() == [[0, 0], [0, 0]]


def test_a_tally_counts_classes_where_asked():
    logits = torch.tensor([[2.0, 1.0], [3.0, 0.0], [0.0, 1.0]])
    plain, by_class = Tally(CPU), Tally(CPU, 2)
    for tally in (plain, by_class):
        tally.add(logits, torch.tensor([0, 1, 1]), torch.tensor(0.5))
    assert plain.read().confusion is None
    assert by_class.read().confusion.tolist() == [[1, 0], [1, 1]]
    assert by_class.read() == plain.read()


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
