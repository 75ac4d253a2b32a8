"""`qcli train` and `qcli eval` as a user types them, on the embedded digits."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import qcli

QUICK = {
    "name": "quick",
    "architecture": {"name": "lenet5"},
    "dataset": {"name": "digits"},
    "augment": ["shift_1"],
    "epochs": 2,
    "batch_size": 64,
    "lr": {"kind": "cosine", "start": 0.003},
    "optimizer": {"name": "adam"},
}


def write_recipe(folder, **changes):
    path = folder / "quick.json"
    path.write_text(json.dumps({**QUICK, **changes}))
    return str(path)


def run_qcli(*arguments, cwd, check=True, **options):
    command = [sys.executable, "-m", "qcli", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)
    assert not check or done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and what the command printed."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder)
    done = run_qcli(
        "train", "--train-json", recipe, "--quant-json", "lsq-w4a4", "-o", "run", cwd=folder
    )
    return folder / "run", done


def test_a_run_leaves_every_file(finished):
    path, _ = finished
    names = {file.name for file in path.iterdir()}
    assert names >= {
        "run.json",
        "training.json",
        "quantization.json",
        "plan.json",
        "metrics.jsonl",
        "metrics.csv",
        "log.txt",
        "checkpoint",
        "best.safetensors",
        "last.safetensors",
        "result.json",
    }
    assert not {"checkpoint.new", "checkpoint.old"} & names


def test_the_result_is_what_the_metrics_say(finished):
    path, _ = finished
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((path / "result.json").read_text())
    best = max(rows, key=lambda row: row["val_top1"])
    assert [row["epoch"] for row in rows] == [1, 2]
    assert result["best"]["epoch"] == best["epoch"]
    assert result["best"]["top1"] == best["val_top1"]
    assert result["last"]["top1"] == rows[-1]["val_top1"]
    assert result["last"]["top1"] > 0.5
    with (path / "metrics.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2]


def test_results_go_to_stdout_and_the_rest_to_stderr(finished):
    path, done = finished
    assert re.search(r"best test top-1 [\d.]+ %", done.stdout)
    assert f"run directory: {path.name}" in done.stdout
    assert "epoch   1" in done.stderr
    assert "epoch   1" not in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_run_json_says_how_it_was_made(finished):
    path, _ = finished
    record = json.loads((path / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["num_processes"] == 1
    assert "--quant-json" in record["argv"]


def test_eval_gives_the_recorded_accuracy(finished):
    path, _ = finished
    result = json.loads((path / "result.json").read_text())
    for weights in ("best", "last"):
        more = ("--by-class",) if weights == "last" else ()
        done = run_qcli("eval", path, "--weights", weights, "--json", *more, cwd=path.parent)
        printed = json.loads(done.stdout)
        assert printed["top1"] == result[weights]["top1"]
        assert printed["images"] == 360
        assert ("confusion" in printed) is bool(more)
    right = sum(row[label] for label, row in enumerate(printed["confusion"]))
    assert right / 360 == printed["top1"]


def test_the_effective_recipes_reproduce_the_run(finished, tmp_path):
    path, _ = finished
    run_qcli(
        "train",
        *("--train-json", path / "training.json", "--quant-json", path / "quantization.json"),
        *("-o", "again"),
        cwd=tmp_path,
    )
    assert same_weights(path / "last.safetensors", tmp_path / "again" / "last.safetensors")
    assert (tmp_path / "again" / "training.json").read_text() == (
        path / "training.json"
    ).read_text()


def test_load_run_gives_the_network_and_its_baked_weights(finished):
    path, _ = finished
    model = qcli.load_run(path)
    baked = qcli.bake(model)
    assert not model.training
    assert len(baked["conv2.weight"].unique()) <= 16


def test_a_finished_run_is_not_resumed(finished):
    path, _ = finished
    done = run_qcli("train", "--resume", path, cwd=path.parent, check=False)
    assert done.returncode == 2
    assert "is finished" in done.stderr


def test_an_existing_run_is_never_overwritten(finished):
    path, _ = finished
    before = (path / "result.json").read_bytes()
    recipe = write_recipe(path.parent)
    done = run_qcli("train", "--train-json", recipe, "-o", path, cwd=path.parent, check=False)
    assert done.returncode == 2
    assert "never overwritten" in done.stderr
    assert (path / "result.json").read_bytes() == before


def test_resume_refuses_other_recipes(finished):
    path, _ = finished
    done = run_qcli(
        "train", "--resume", path, "--epochs", 9, "--quant-json", "x", cwd=path.parent, check=False
    )
    assert done.returncode == 2
    assert "--resume takes everything from the run" in done.stderr


@pytest.mark.parametrize("damage", ["missing", "cut", "other keys"])
def test_a_damaged_run_is_named(finished, tmp_path, damage):
    path, _ = finished
    copy = tmp_path / "copy"
    copy.mkdir()
    text = (path / "run.json").read_text()
    if damage == "cut":
        (copy / "run.json").write_text(text[:40])
    if damage == "other keys":
        (copy / "run.json").write_text("{}")
    done = run_qcli("eval", copy, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "run.json" in done.stderr


def copy_run(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    return copy


@pytest.mark.parametrize("weights", ["best", "last"])
def test_missing_weights_are_named(finished, tmp_path, weights):
    copy = copy_run(finished, tmp_path)
    (copy / f"{weights}.safetensors").unlink()
    done = run_qcli("eval", copy, "--weights", weights, cwd=tmp_path, check=False)
    assert done.returncode == 1
    other = {"best": "last", "last": "best"}[weights]
    assert f"{weights}.safetensors is missing; the run has {other}.safetensors" in done.stderr


def test_resume_needs_the_best_weights(finished, tmp_path):
    copy = copy_run(finished, tmp_path)
    (copy / "result.json").unlink()
    (copy / "best.safetensors").unlink()
    done = run_qcli("train", "--resume", copy, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "best.safetensors is missing" in done.stderr
    assert not (copy / "result.json").exists()


@pytest.mark.parametrize("change", ["edited", "deleted"])
def test_a_run_with_other_recipes_is_refused(finished, tmp_path, change):
    copy = copy_run(finished, tmp_path)
    (copy / "result.json").unlink()
    recipe = copy / "quantization.json"
    if change == "edited":
        recipe.write_text(recipe.read_text().replace('"bits": 8', '"bits": 7'))
    else:
        recipe.unlink()
    for verb in (["eval", copy], ["train", "--resume", copy]):
        done = run_qcli(*verb, cwd=tmp_path, check=False)
        assert done.returncode == 1
        assert "was made with other recipes" in done.stderr


def test_odd_places_for_a_run_are_refused(tmp_path):
    recipe = write_recipe(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for place, reason in {"quick.json": "exists", "link": "exists", "a" * 300: "too long"}.items():
        done = run_qcli("train", "--train-json", recipe, "-o", place, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert reason in done.stderr
        assert "--resume" not in done.stderr


def test_a_batch_of_one_is_explained(tmp_path):
    recipe = write_recipe(tmp_path, batch_size=1, accumulate=1)
    done = run_qcli("train", "--train-json", recipe, "-o", "run", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "a norm receives one image" in done.stderr


def test_staged_training_starts_from_a_float_run(tmp_path):
    recipe = write_recipe(tmp_path)
    run_qcli("train", "--train-json", recipe, "-o", "float", cwd=tmp_path)
    done = run_qcli(
        "train",
        *("--train-json", recipe, "--quant-json", "lsq-w4a4", "--init-from", "float"),
        *("--epochs", 1, "-o", "quantized"),
        cwd=tmp_path,
    )
    rows = (tmp_path / "quantized" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["train_top1"] > 0.8, done.stderr


def test_a_loss_that_is_not_finite_stops_with_the_layer(tmp_path):
    recipe = write_recipe(tmp_path, lr=1e30)
    done = run_qcli("train", "--train-json", recipe, "-o", "run", cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert re.search(r"the loss is (nan|inf): the (output of|parameter) \w+", done.stderr)
    assert (tmp_path / "run" / "checkpoint" / "position.json").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_goes_on(tmp_path, number, code):
    recipe = write_recipe(tmp_path, epochs=400)
    command = [sys.executable, "-m", "qcli", "train", "--train-json", recipe, "-o", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "run" / "metrics.jsonl")
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    assert "qcli train --resume run" in errors
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert json.loads((tmp_path / "run" / "checkpoint" / "position.json").read_text())["epoch"] > 0


def test_a_run_in_use_is_locked(tmp_path):
    recipe = write_recipe(tmp_path, epochs=400)
    command = [sys.executable, "-m", "qcli", "train", "--train-json", recipe, "-o", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_for(tmp_path / "run" / "metrics.jsonl")
        done = run_qcli("train", "--resume", "run", cwd=tmp_path, check=False)
        assert done.returncode == 1
        assert "in use by another process" in done.stderr
    finally:
        process.kill()
        process.wait()


def test_validation_selects_and_the_test_set_is_measured_once(tmp_path):
    recipe = write_recipe(tmp_path, validation_fraction=0.2, select_on="validation")
    run_qcli("train", "--train-json", recipe, "-o", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["selected_on"] == "validation"
    done = run_qcli("eval", "run", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["top1"] == result["test"]["top1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bfloat16", "channels_last": True, "batch_norm_recalibration_batches": 4},
        {"accumulate": 4, "clip_gradient_norm": 1.0, "label_smoothing": 0.1},
        {"optimizer": {"name": "adamw", "weight_decay": 0.01}},
        {"optimizer": {"name": "sgd", "nesterov": True}, "drop_last": True},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_training_options_train(tmp_path, changes):
    arguments = [f"--set={key}={json.dumps(value)}" for key, value in changes.items()]
    recipe = write_recipe(tmp_path)
    soft = {"quantizer": "categorical", "sampling": "soft", "value_space": [-1, -0.5, 0.5, 1]}
    (tmp_path / "soft.json").write_text(json.dumps({"name": "soft", "default": {"weight": soft}}))
    run_qcli(
        "train",
        *("--train-json", recipe, "--quant-json", "./soft.json", "-o", "run", *arguments),
        cwd=tmp_path,
    )
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["train_top1"] > 0.3


def test_float16_needs_cuda(tmp_path):
    recipe = write_recipe(tmp_path, precision="float16")
    done = run_qcli(
        "train", "--cpu", "--train-json", recipe, "-o", "run", cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "float16 needs CUDA" in done.stderr
    assert not (tmp_path / "run").exists()


def test_verbose_dry_run_and_old_flags(tmp_path):
    recipe = write_recipe(tmp_path)
    done = run_qcli(
        "train",
        *("--training-json", recipe, "--quant-json", "search-1b", "-q", "--save", "--dry-run"),
        *("--first-layer", "8", "--quantize-last-layer"),
        cwd=tmp_path,
    )
    assert "runs are always saved" in done.stderr
    assert "--first-layer 8" in done.stdout
    assert "--last-layer default" in done.stdout
    assert not (tmp_path / "runs").exists()


def same_weights(one, two):
    first, second = load_file(one), load_file(two)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def wait_for(path, seconds=300):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        os.sched_yield()
        time.sleep(0.05)


def test_a_bfloat16_run_is_evaluated_in_float32(tmp_path):
    """What is deployed computes in float32, so that is what selects and what is reported."""
    recipe = write_recipe(tmp_path, precision="bfloat16", epochs=1)
    run_qcli("train", "--train-json", recipe, "--quant-json", "lsq-w4a4", "-o", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    printed = json.loads(run_qcli("eval", "run", "--json", cwd=tmp_path).stdout)
    assert printed["top1"] == result["best"]["top1"]
    assert printed["loss"] == pytest.approx(result["best"]["loss"], rel=1e-6)
