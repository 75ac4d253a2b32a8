"""`qcli runs` and `qcli diff` on run directories with any of their JSON mutated."""

import json
import random
import shutil
from collections import Counter

from invocation import invoke, snapshot
from mutation import mutate_bytes, mutate_tree, spell

CASES = 60
ROW = {
    **{"epoch": 1, "lr": 0.1, "temperature": None, "train_loss": 1.0, "train_top1": 0.5},
    **{"train_top5": 0.5, "val_loss": 0.5, "val_top1": 0.75, "val_top5": 0.75},
    **{"train_seconds": 8.0, "val_seconds": 2.0, "images_per_second": 100.0},
    **{"health": {"conv1.weight": {"levels": 2, "unused": 0}}},
}
SCORES = {"epoch": 1, "top1": 0.75, "top5": 0.75, "loss": 0.5}
SLOT = {"quantizer": "lsq", "bits": 4}
RUN = {
    "run.json": {
        **{"schema_version": 1, "status": "running", "num_classes": 10, "data_root": None},
        **{"plugins": [], "threads": 1, "cpu": True, "num_processes": 1, "recipes_sha256": ""},
        **{"versions": {"torch": "2"}, "started": "2026-01-01T00:00:00+00:00", "ended": None},
        **{"architecture": "lenet5", "dataset": "digits", "argv": ["qcli", "train"]},
        "process": {"id": 7, "host": "a", "boot": "b", "namespace": "c", "started": "d"},
    },
    "training.json": {"name": "x", "epochs": 4, "select_by": "top1", "lr": {"start": 0.1}},
    "quantization.json": {"name": "lsq-w4a4", "default": {"weight": SLOT}},
    "plan.json": {"layers": [{"layer": "conv1", "weight": SLOT, "because": "default"}]},
    "result.json": {"best": SCORES, "last": SCORES, "epochs": 1, "train_seconds": 8.0},
    "progress.json": {"epoch": 2, "step": 5, "steps": 10, "seconds": 4.0},
    "metrics.jsonl": ROW,
}


def write_run(folder):
    for name, value in RUN.items():
        (folder / name).write_text(json.dumps(value) + "\n")


def damage(folder, rng):
    """Change one file of a run; a run that is under way has no result."""
    if rng.random() < 0.5:
        (folder / "result.json").unlink()
    name = rng.choice(list(RUN))
    if rng.random() < 0.05:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()
        return name
    whole = (json.dumps(RUN[name]) + "\n").encode()
    mutated = mutate_tree(RUN[name], rng, list(RUN.values()))
    data = spell(mutated, rng) if rng.random() < 0.8 else mutate_bytes(whole, rng)
    (folder / name).write_bytes(data.replace(b"\n", b" ") + b"\n")
    return name


def test_damaged_runs_are_told_and_left_as_they_are(tmp_path, tally):
    rng = random.Random("runs")
    first, second = tmp_path / "first", tmp_path / "second"
    faults, codes = [], Counter()
    for case in range(CASES):
        for folder in (first, second):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            write_run(folder)
        name = damage(second, rng)
        before = snapshot(tmp_path)
        commands = (
            *(["runs", tmp_path], ["runs", "show", second], ["runs", tmp_path, "--json"]),
            *(["diff", first, second], ["diff", second, first, "--json"]),
        )
        for command in commands:
            outcome = invoke(*command)
            codes[outcome.code] += 1
            if not outcome.is_clean:
                tally.tracebacks += 1
                faults.append((case, name, command[:2], outcome))
        tally.cases += 1
        tally.lost += snapshot(tmp_path) != before
    assert not faults, faults[0]
    assert tally.lost == 0
    # Some are told as damaged, by an exit code of `diff`; some are as good as new.
    assert min(codes[0], codes[1]) > CASES / 4
