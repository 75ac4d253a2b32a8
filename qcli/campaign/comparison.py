"""Finished runs side by side: accuracy against what the network costs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcli.errors import RunError
from qcli.training.run_directory import RunDirectory

# Words about a recipe, what its name says anyway, and what is meant to differ.
NOT_TRAINING = {
    *("$schema", "name", "source", "note", "reported"),
    *("architecture", "dataset", "seed"),
    *("workers", "checkpoint_every_minutes", "health"),
}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        path: Its directory.
        network: The architecture.
        dataset: The data set.
        method: The quantization recipe's name, or "float".
        training: Its effective training recipe.
        best: Top-1 of the best epoch, a fraction; on the test set where that is held apart.
        last: Top-1 of the last epoch.
        weight_bytes: Memory of the weights at their widths.
        bit_operations: For one image.
        train_seconds: Time of training.
    """

    path: Path
    network: str
    dataset: str
    method: str
    training: Mapping[str, Any]
    best: float
    last: float
    weight_bytes: int
    bit_operations: int
    train_seconds: float


@dataclass(frozen=True)
class Contender:
    """Runs that differ in their seeds alone."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """A run that stands for all where they are alike."""
        return self.runs[0]

    @property
    def best(self) -> float:
        """Mean top-1 of the best epochs."""
        return statistics.fmean(run.best for run in self.runs)

    @property
    def last(self) -> float:
        """Mean top-1 of the last epochs."""
        return statistics.fmean(run.last for run in self.runs)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation of the best epochs; None for a single run."""
        return statistics.stdev(run.best for run in self.runs) if len(self.runs) > 1 else None


def read_run(path: Path) -> Run:
    """Read a finished run.

    Raises:
        RunError: It is no run, is damaged, or is not finished.
    """
    run = RunDirectory(path)
    record = run.record()
    if not (path / "result.json").exists():
        raise RunError(f"{path} is not finished; go on with it: qcli train --resume {path}")
    result, totals = run.read("result.json"), run.read("plan.json")["totals"]
    quantized = (path / "quantization.json").exists()
    return Run(
        path=path,
        network=record["architecture"],
        dataset=record["dataset"],
        method=run.read("quantization.json")["name"] if quantized else "float",
        training=run.read("training.json"),
        best=result.get("test", result["best"])["top1"],
        last=result["last"]["top1"],
        weight_bytes=totals["weight_bytes"],
        bit_operations=totals["bit_operations"],
        train_seconds=result["train_seconds"],
    )


def group_runs(runs: Sequence[Run]) -> list[Contender]:
    """Put runs together that differ in their seeds alone, in the order in which they came."""
    groups: defaultdict[Any, list[Run]] = defaultdict(list)
    for run in runs:
        cost = (run.weight_bytes, run.bit_operations)
        trained = repr(sorted(_trained(run).items(), key=lambda item: item[0]))
        groups[run.network, run.dataset, run.method, cost, trained].append(run)
    return [Contender(tuple(group)) for group in groups.values()]


def find_unfairness(contenders: Sequence[Contender]) -> list[str]:
    """Return what else differs between the runs than their methods: one sentence each."""
    found = []
    for key in ("network", "dataset"):
        names = {getattr(each.first, key) for each in contenders}
        if len(names) > 1:
            found.append(f"not the same {key}: {', '.join(sorted(names))}")
    trained = [_trained(each.first) for each in contenders]
    for key in sorted({key for each in trained for key in each}):
        values = list(dict.fromkeys(str(each.get(key)) for each in trained))
        if len(values) > 1:
            found.append(f"not the same {key}: {'; '.join(values)}")
    seeds = {tuple(sorted(run.training["seed"] for run in each.runs)) for each in contenders}
    if len(seeds) > 1:
        found.append(f"not the same seeds, and so not the same order of images: {sorted(seeds)}")
    return found


def _trained(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.training.items() if key not in NOT_TRAINING}
