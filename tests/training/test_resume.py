"""A run that is killed and resumed ends as if nothing had happened, bit for bit."""

import json
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

RECIPE = {
    "name": "killed",
    "architecture": {"name": "lenet5_caffe", "batch_norm": True},
    "dataset": {"name": "digits"},
    "augment": ["shift_1"],
    "epochs": 4,
    "batch_size": 16,
    "lr": {"kind": "cosine", "start": 0.003},
    "optimizer": {"name": "adam"},
    "checkpoint_every_minutes": 0.001,
}
# By name: what no shipped recipe does.
SEARCH = {"quantizer": "categorical", "scale": "tensor"}
OWN = {
    "gumbel": {"weight": SEARCH | {"sampling": "gumbel"}},
    "hard": {"weight": SEARCH},
    "hard_phase": {"weight": SEARCH | {"sampling": "soft", "hard_from_fraction": 0.6}},
    "growth": {"weight": SEARCH | {"value_space": [-2, -1, 1, 2], "growth_fractions": [0.5]}},
    "stochastic": {"weight": {"quantizer": "qnn", "bits": 1, "stochastic": True}},
    "frozen_ranges": {"input": {"quantizer": "uniform", "freeze_at_fraction": 0.5}},
}


def train(folder, *arguments, wait=True):
    command = [sys.executable, "-m", "qcli", "train", "--cpu", "--threads", "1", *arguments]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    if wait:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    return process


def position(run):
    for name in ("checkpoint", "checkpoint.old"):
        try:
            return json.loads((run / name / "position.json").read_text())
        except (FileNotFoundError, ValueError):
            continue
    return {"epoch": 0, "step": 0}


def kill_inside_epoch(process, run, epoch):
    """Send SIGKILL once a checkpoint inside the given epoch has been seen."""
    while process.poll() is None:
        at = position(run)
        if at["epoch"] == epoch and at["step"] > 3:
            process.kill()
            process.communicate()
            return
        time.sleep(0.001)
    raise AssertionError("the run ended before it could be killed")


def results(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        for clock in ("train_seconds", "val_seconds", "images_per_second"):
            del row[clock]
    weights = [(run / name).read_bytes() for name in ("best.safetensors", "last.safetensors")]
    return rows, weights


METHODS = [
    *OWN,
    "dorefa-w1a2g6",
    "lq_nets-w2a2",
    "lsq-w4a4",
    "pact-w4a4",
    "quantization_networks-w2a32",
    "sat-w4a4",
    "ttq-w2a32",
    "twn-w2a32",
    "uniform-w8a8",
    "xnor-w1a32",
]


# Fields of the training recipe that add to what a checkpoint must hold.
FIELDS = {
    "ema": {"ema": {"decay": 0.9}, "batch_norm_recalibration_batches": 1},
    "distill": {"distill": {"weight": 0.5, "temperature": 2}},
    "f1": {"select_by": "f1"},
}


@pytest.mark.parametrize(
    ("method", "fields"),
    [*((method, {}) for method in METHODS), *(("lsq-w4a4", each) for each in FIELDS.values())],
    ids=[*METHODS, *FIELDS],
)
def test_killed_twice_equals_uninterrupted(tmp_path, method, fields):
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE | fields))
    quantization = method
    if method in OWN:
        quantization = f"./{method}.json"
        (tmp_path / quantization).write_text(json.dumps({"name": method, "default": OWN[method]}))
    recipes = ("--train-json", "./recipe.json", "--quant-json", quantization)
    if "distill" in fields:
        without = ("--set", "distill=null", "--epochs", "1", "-o", "teacher")
        train(tmp_path, "--train-json", "./recipe.json", *without)
        recipes += ("--teacher", "teacher")
    train(tmp_path, *recipes, "-o", "whole")
    process = train(tmp_path, *recipes, "-o", "broken", wait=False)
    kill_inside_epoch(process, tmp_path / "broken", 1)
    process = train(tmp_path, "--resume", "broken", wait=False)
    kill_inside_epoch(process, tmp_path / "broken", 2)
    assert not (tmp_path / "broken" / "result.json").exists()
    train(tmp_path, "--resume", "broken")
    assert results(tmp_path / "broken") == results(tmp_path / "whole")
