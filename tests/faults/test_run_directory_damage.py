"""Run directories of which a file is damaged: said with the file's name, and nothing is lost.

About 60 cases in the fast set and 250 more in the slow one, drawn from all: every file of a
finished and of an interrupted run, in 25 ways, and keys of its JSON files with wrong values, met by
the verbs that read runs. Files without permission to read are not among them: tests may run as
root, who reads all.
"""

import json
import random
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
from damage import FILE_DAMAGES, key_damages
from invocation import invoke, snapshot

from qcli.reporting.console import TrainingReport

RECIPE = {
    "name": "small",
    "architecture": {"name": "lenet5_classic"},
    "dataset": {"name": "digits", "image_size": 28},
    "epochs": 2,
    "batch_size": 128,
    "lr": 0.01,
    "optimizer": {"name": "adam"},
}
FINISHED = (
    *("run.json", "training.json", "quantization.json", "plan.json", "result.json"),
    *("metrics.jsonl", "verify.json", "best.safetensors", "last.safetensors", "log.txt", ".lock"),
)
CHECKPOINT = tuple(
    f"checkpoint/{name}"
    for name in (
        *("position.json", "model.safetensors", "optimizer.safetensors", "random_0.safetensors"),
        "codes.safetensors",
    )
)
INTERRUPTED = (
    *("run.json", "training.json", "quantization.json", "plan.json", "metrics.jsonl"),
    *("best.safetensors", "last.safetensors", ".lock", *CHECKPOINT),
)
JSON = ("run.json", "plan.json", "result.json", "training.json", "quantization.json")
READERS = {
    "eval": lambda run, out: ("eval", run, "--cpu", "--threads", 1, "--json"),
    "eval_last": lambda run, out: ("eval", run, "--cpu", "--threads", 1, "--weights", "last"),
    "export": lambda run, out: ("export", run, "--format", "packed", "-o", out),
    "verify": lambda run, out: ("verify", run, "--format", "packed", "--images", 8),
    "compare": lambda run, out: ("compare", run),
    "runs": lambda run, out: ("runs", run, "--json"),
    "diff": lambda run, out: ("diff", run, run.with_name("whole")),
    "init_from": lambda run, out: (*_train(out), "--init-from", run),
    "teacher": lambda run, out: (
        *(*_train(out), "--teacher", run),
        *("--set", 'distill={"weight": 0.5, "temperature": 1}'),
    ),
    "resume": lambda run, out: ("train", "--resume", run, "--cpu", "--threads", 1),
}


def _train(out):
    recipe = out.parent / "recipe.json"
    recipe.write_text(json.dumps({**RECIPE, "epochs": 1}), "utf-8")
    arguments = ("--train-json", recipe, "--quant-json", "lsq-w4a4-integer", "-o", out)
    return ("train", *arguments, "--cpu", "--threads", 1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a finished and an interrupted run, by name."""
    folder = tmp_path_factory.mktemp("runs")
    finished = folder / "finished"
    assert invoke(*_train(finished)).code == 0
    assert invoke("verify", finished, "--format", "packed", "--images", 8).code == 0
    interrupted = folder / "interrupted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingReport, "end_epoch", lambda *_: signal.raise_signal(signal.SIGINT))
        arguments = _train(interrupted)
        (folder / "recipe.json").write_text(json.dumps(RECIPE), "utf-8")
        assert invoke(*arguments).code == 130
    return {"finished": finished, "interrupted": interrupted}


def meet(runs, kind, verb, file, damage, folder, tally):
    """Let a verb read a damaged run; return what is wrong with what it did, or None."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run = shutil.copytree(runs[kind], folder / "run")
    damage(run / file)
    (folder / "whole").symlink_to(runs[kind])
    before = snapshot(run)
    outcome = invoke(*READERS[verb](run, folder / "out"))
    tally.cases += 1
    # Of a run whose damage harms nothing, verify and resume go on to write.
    kept = snapshot(run) == before or (outcome.code == 0 and verb in ("verify", "resume"))
    tally.lost += not kept
    tally.tracebacks += not outcome.is_clean
    name = file.rpartition("/")[2]
    is_named = outcome.code == 0 or name in outcome.stderr or "is finished" in outcome.stderr
    is_named |= name.endswith("zation.json") or name == "training.json"
    if outcome.is_clean and kept and is_named:
        return None
    return f"{outcome.code}, kept {kept}, named {is_named}: {outcome.stderr[-1000:]}"


def sweep(runs, cases, folder, tally):
    """Meet every case; each is (kind, verb, file, what happened, how)."""
    failures = []
    for kind, verb, file, what, damage in cases:
        fault = meet(runs, kind, verb, file, damage, folder / "case", tally)
        if fault:
            failures.append(f"{kind} {file} {what}, {verb}: {fault}")
    assert not failures, "\n".join([f"{len(failures)} failures", *failures[:12]])


def file_cases():
    """Return every file in every way, for all verbs."""
    return [
        (kind, verb, file, what, damage)
        for kind, files in (("finished", FINISHED), ("interrupted", INTERRUPTED))
        for file in files
        for what, damage in FILE_DAMAGES.items()
        for verb in READERS
        if (verb == "resume") == (kind == "interrupted")
    ]


def key_cases(runs, most):
    """Return JSON files of which one key is wrong, for verbs in turn."""
    cases = []
    for kind in runs:
        files = [*JSON, "checkpoint/position.json"] if kind == "interrupted" else JSON
        for file in files:
            if not (runs[kind] / file).exists():
                continue
            content = (runs[kind] / file).read_bytes()
            verbs = ["resume"] if kind == "interrupted" else [*READERS][:-1]
            for number, (what, changed) in enumerate(key_damages(content, file, most)):
                verb = verbs[number % len(verbs)]
                damage = partial(Path.write_bytes, data=changed)
                cases.append((kind, verb, file, what, damage))
    return cases


def test_the_runs_are_as_meant(runs):
    for kind, files in (("finished", FINISHED), ("interrupted", INTERRUPTED)):
        assert all((runs[kind] / file).exists() for file in files)
    assert not (runs["interrupted"] / "result.json").exists()


def test_some_damaged_files(runs, tmp_path, tally):
    sweep(runs, random.Random(0).sample(file_cases(), 30), tmp_path, tally)


def test_some_wrong_keys(runs, tmp_path, tally):
    sweep(runs, key_cases(runs, 3), tmp_path, tally)


@pytest.mark.slow
def test_damaged_files(runs, tmp_path, tally):
    sweep(runs, random.Random(1).sample(file_cases(), 120), tmp_path, tally)


@pytest.mark.slow
def test_wrong_keys(runs, tmp_path, tally):
    sweep(runs, key_cases(runs, 12), tmp_path, tally)
