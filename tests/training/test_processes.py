"""Two processes under `accelerate launch` do what one does."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

RECIPE = {
    "name": "shared",
    "architecture": {"name": "lenet5", "batch_norm": False},
    "dataset": {"name": "digits"},
    "augment": ["shift_1"],
    "epochs": 3,
    "batch_size": 64,
    "lr": {"kind": "cosine", "start": 0.01},
    "optimizer": {"name": "sgd", "weight_decay": 1e-4},
}
ALONE = [sys.executable, "-m"]
TOGETHER = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
    *("--main_process_port", "0", "-m"),
]
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
    *("--nproc_per_node", "2", "-m"),
]


def train(launcher, folder, *arguments, check=True):
    command = [*launcher, "qcli", "train", "--cpu", "--threads", "1", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def write_recipe(folder, **changes):
    (folder / "recipe.json").write_text(json.dumps({**RECIPE, **changes}))
    return ("--train-json", "./recipe.json")


# Without a batch norm behind them, searched weights need a scale.
OWN = {
    "step": {"quantizer": "lsq", "bits": 4},
    "search": {"quantizer": "categorical", "scale": "tensor", "initial_logits": "pretrained"},
}
# A quantizer turns a rounding error, which comes from sums in another order, into a whole level,
# and training multiplies it: losses then agree closely and not to the last digits.
ALIKE, CLOSE = 1e-5, 1e-2


@pytest.mark.parametrize(
    ("quantization", "changes", "tolerance"),
    [
        (None, {"accumulate": 2, "batch_size": 52}, ALIKE),
        (None, {"ema": {"decay": 0.9}, "select_by": "f1"}, ALIKE),
        (None, {"distill": {"temperature": 2}}, ALIKE),
        ("./step.json", {"ema": {"decay": 0.9}}, CLOSE),
        ("./step.json", {"distill": {"temperature": 2}}, CLOSE),
        ("./search.json", {}, CLOSE),
        ("uniform-w8a8", {}, CLOSE),
        ("dorefa-w2a2", {"batch_size": 50}, CLOSE),
        ("lsq-w4a4", {}, CLOSE),
        ("lq_nets-w2a2", {}, CLOSE),
    ],
)
def test_two_processes_give_the_losses_of_one(tmp_path, quantization, changes, tolerance):
    for name, slot in OWN.items():
        recipe = {"name": name, "default": {"weight": slot}}
        (tmp_path / f"{name}.json").write_text(json.dumps(recipe))
    recipes = write_recipe(tmp_path, **changes)
    if "distill" in changes:
        train(ALONE, tmp_path, *recipes, "--set", "distill=null", "-o", "teacher")
        recipes += ("--teacher", "teacher")
    recipes += ("--quant-json", quantization) if quantization else ()
    train(ALONE, tmp_path, *recipes, "-o", "one")
    done = train(TOGETHER, tmp_path, *recipes, "-o", "two")
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["train_loss"] for row in two] == pytest.approx(
        [row["train_loss"] for row in one], rel=tolerance
    )
    assert [row["epoch"] for row in two] == [1, 2, 3]
    assert [row["val_loss"] for row in two] == pytest.approx(
        [row["val_loss"] for row in one], rel=10 * tolerance
    )
    assert [row.get("val_f1") for row in two] == pytest.approx(
        [row.get("val_f1") for row in one], abs=0.01
    )
    compare_statistics(tmp_path, tolerance)
    assert done.stdout.count("best test top-1") == 1
    assert done.stderr.count("epoch   1") == 1
    names = {file.name for file in (tmp_path / "two").iterdir()}
    assert names == {file.name for file in (tmp_path / "one").iterdir()}


def compare_statistics(folder, tolerance):
    """What quantizers measure over all processes: steps, bases, ranges.

    Compared as whole tensors: one weight that was rounded to another level moves its own range.
    """
    one, two = (load_file(folder / run / "last.safetensors") for run in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        if name.rpartition(".")[2] in ("step_size", "basis", "low", "high", "magnitude", "scale"):
            distance = torch.linalg.vector_norm(two[name] - one[name])
            assert distance <= tolerance * torch.linalg.vector_norm(one[name]), name


def test_torchrun_works_and_a_run_of_two_resumes_with_two_alone(tmp_path):
    recipes = (*write_recipe(tmp_path), "--quant-json", "lsq-w4a4")
    train(TORCHRUN, tmp_path, *recipes, "-o", "run")
    (tmp_path / "run" / "result.json").unlink()
    done = train(ALONE, tmp_path, "--resume", "run", check=False)
    assert done.returncode == 1
    assert "was made with 2 processes, not 1" in done.stderr
    train(TORCHRUN, tmp_path, "--resume", "run")
    assert (tmp_path / "run" / "result.json").exists()


def test_a_batch_that_cannot_be_divided_is_an_error(tmp_path):
    recipes = write_recipe(tmp_path, batch_size=63)
    done = train(TOGETHER, tmp_path, *recipes, "-o", "run", check=False)
    assert done.returncode != 0
    assert "--set batch_size=62 or 64" in done.stderr
    assert not (tmp_path / "run").exists()
