"""A small run, and what of it must be the same however it came to its end."""

import csv
import hashlib
import json
from pathlib import Path

RECIPE = {
    "name": "small",
    "architecture": {"name": "lenet5_classic"},
    "dataset": {"name": "synthetic", "train_images": 128, "test_images": 64, "noise": 0.1},
    "augment": ["shift_1"],
    "epochs": 3,
    "batch_size": 32,
    "lr": {"kind": "cosine", "start": 0.004, "end": 0.002},
    "optimizer": {"name": "adam"},
    # After every step.
    "checkpoint_every_minutes": 1e-6,
}
CLOCKS = {"train_seconds", "val_seconds", "images_per_second"}


def write_recipe(folder: Path, **changes: object) -> tuple[str, ...]:
    """Write the recipe; return the arguments that train it."""
    (folder / "small.json").write_text(json.dumps(RECIPE | changes))
    recipes = ("--train-json", "./small.json", "--quant-json", "lsq-w8a8")
    return ("train", "--cpu", "--threads", "1", *recipes)


def facts_of(run: Path) -> dict[str, object]:
    """Return what a finished run is: numbers without clocks, hashes, the names of its files."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    with (run / "metrics.csv").open(newline="") as file:
        table = [_without_clocks(row) for row in csv.DictReader(file)]
    record = json.loads((run / "run.json").read_text())
    return {
        "rows": [_without_clocks(row) for row in rows],
        "table": table,
        "result": _without_clocks(json.loads((run / "result.json").read_text())),
        "status": (record["status"], record.get("error")),
        "files": sorted(str(path.relative_to(run)) for path in run.rglob("*")),
        **{path.name: _hash(path) for path in run.glob("*.safetensors")},
        **{f"checkpoint/{path.name}": _hash(path) for path in run.glob("checkpoint/*.safetensors")},
    }


def difference(facts: dict[str, object], whole: dict[str, object]) -> list[str]:
    """Return what differs from the uninterrupted run."""
    names = sorted(facts.keys() | whole.keys())
    return [
        f"{name} is {facts.get(name)} instead of {whole.get(name)}"
        for name in names
        if facts.get(name) != whole.get(name)
    ]


def _without_clocks(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in CLOCKS}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
