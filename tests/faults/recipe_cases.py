"""Mutated recipes: what case a seed stands for, and what comes of it."""

import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from mutation import STRINGS, draw_value, mutate_bytes, mutate_tree, spell
from torch import nn

from qcli.catalog.load import load_catalog
from qcli.cli.check_verb import _check
from qcli.errors import QcliError
from qcli.quantization.planner import make_plan
from qcli.quantization.surgery import quantize
from qcli.recipe.checking import load_schema
from qcli.recipe.kind import guess_kind
from qcli.recipe.library import library_folder
from qcli.recipe.schedule import Progress, Schedule
from qcli.recipe.setting import Request, resolve_setting
from qcli.training.optimizer import make_optimizer

KINDS = ("training", "quantization", "experiments")
LONGEST_SECONDS = 1.0
FIELDS = sorted({key for kind in KINDS[:2] for key in load_schema(kind)["properties"]})


@dataclass(frozen=True)
class RecipeCase:
    """A recipe that is wrong, or not.

    Args:
        seed: What it was drawn by.
        kind: One of `KINDS`.
        origin: The shipped file that was mutated.
        content: Of the mutated file.
        flags: Fields of a `Request` beside the file's name.
    """

    seed: int
    kind: str
    origin: str
    content: bytes
    flags: dict[str, Any] = field(default_factory=dict)


@cache
def shipped(kind):
    """Return the names and the JSON of the shipped files of a kind."""
    files = sorted(library_folder(kind).glob("*.json"))
    return [file.name for file in files], [json.loads(file.read_bytes()) for file in files]


def draw_case(seed):
    """Return the case that a seed stands for."""
    rng = random.Random(seed)
    kind = rng.choices(KINDS, [10, 10, 1])[0]
    names, trees = shipped(kind)
    number = rng.randrange(len(names))
    tree = trees[number]
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        tree = mutate_tree(tree, rng, trees)
    if rng.random() < 0.03 and isinstance(tree, dict):
        tree["extends"] = rng.choice(["./case.json", "other.json", ".", "..", *STRINGS, *names])
    content = spell(tree, rng)
    if rng.random() < 0.2:
        content = mutate_bytes(content, rng)
    flags = {} if kind == "experiments" else _draw_flags(rng)
    return RecipeCase(seed, kind, names[number], content, flags)


def _draw_flags(rng):
    flags = {}
    if rng.random() < 0.3:
        flags["overrides"] = tuple(_draw_override(rng) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.1:
        flags["epochs"] = rng.choice([0, 1, 2, 10**6, -1, 10**30])
    if rng.random() < 0.1:
        flags["epochs_scale"] = float(rng.choice([0.1, 3, 1e-6, 1e6, 0, -1, 1e300]))
    if rng.random() < 0.1:
        layer = rng.choice(["first_layer", "last_layer"])
        flags[layer] = rng.choice(["float", "default", "8", "0"])
    return flags


def _draw_override(rng):
    key = rng.choice([*FIELDS, "optimizer.lr", "lr.start", "default.weight.bits", "layers.0.match"])
    key = rng.choice([key, key, f"{key}.{rng.choice(STRINGS)}", rng.choice(STRINGS)])
    value = draw_value(rng)
    text = rng.choice([json.dumps(value), str(value), "", "null", "0.1", "true", "{", "="])
    return f"{key}={text}" if rng.random() < 0.95 else key


def examine(case, folder, catalog, longest_seconds=LONGEST_SECONDS):
    """Read the recipe of a case as the command line would.

    Returns:
        "valid", or the type of the error that tells what is wrong.

    Raises:
        AssertionError: It took too long, or the message says nothing.
        Exception: What must not be.
    """
    path = folder / "case.json"
    path.write_bytes(case.content)
    outcome, seconds = _time(case, path, catalog)
    if seconds >= longest_seconds:
        # Garbage that other tests left is collected in any case's time; it is not there twice.
        outcome, seconds = _time(case, path, catalog)
    assert outcome != "an empty message"
    assert seconds < longest_seconds, f"took {seconds:.1f} s"
    return outcome


def _time(case, path, catalog):
    began = time.process_time()
    try:
        outcome = _examine(case, path, catalog)
    except QcliError as error:
        outcome = type(error).__name__ if str(error).strip() else "an empty message"
    return outcome, time.process_time() - began


def _examine(case, path, catalog):
    if case.kind == "experiments":
        _check(str(path), "experiment", catalog).raise_any()
        return "valid"
    guess_kind(str(path))
    names = {"train_json": str(path)} if case.kind == "training" else {"quant_json": str(path)}
    network = None if case.kind == "training" else "lenet5"
    setting = resolve_setting(Request(architecture=network, **names, **case.flags), catalog)
    if setting.quantization:
        _plan(setting.quantization, catalog)
    if setting.training:
        _walk(setting.training)
    return "valid"


def _tiny_network():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    )


def _plan(recipe, catalog):
    """Plan and quantize a tiny network by a recipe."""
    model = _tiny_network()
    quantize(model, make_plan(model, recipe, (1, 4, 4), catalog=catalog))


def _walk(recipe):
    """Ask for what changes while a run goes on, and make the optimizer."""
    make_optimizer(_tiny_network(), recipe.optimizer, torch.device("cpu"))
    total = min(recipe.epochs, 10**9)
    for schedule in (each for each in vars(recipe).values() if isinstance(each, Schedule)):
        for epoch in {0, total // 2, total - 1}:
            schedule.at(Progress(epoch * 10 + 9, total * 10, epoch, total))


def describe(case, error):
    """Return what a failure prints: enough to see it, and to repeat it."""
    shown = case.content[:300].decode("utf-8", "backslashreplace")
    return (
        f"seed {case.seed}, {case.kind}, {case.origin}, {case.flags}: "
        f"{type(error).__name__}: {error}\n  {shown!a}"
    )


if __name__ == "__main__":
    given = draw_case(int(sys.argv[1]))
    sys.stdout.write(f"{given}\n")
    with tempfile.TemporaryDirectory() as own:
        sys.stdout.write(f"{examine(given, Path(own), load_catalog())}\n")
