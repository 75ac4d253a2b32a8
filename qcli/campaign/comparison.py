"""Finished runs side by side: accuracy against what the network costs."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qcli.campaign.outcome import best_top1
from qcli.errors import RunError
from qcli.training.run_directory import RunDirectory

# Words about a recipe, and what leaves the numbers as they are.
WORDS = {"$schema", "name", "source", "note", "reported"}
IDLE = {"workers", "checkpoint_every_minutes", "health"}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        path: Its directory.
        network: The architecture.
        dataset: The data set.
        method: The quantization recipe's name, or "float".
        training: Its effective training recipe.
        quantization: Its effective quantization recipe; empty: float.
        start: "init_from" and "teacher", where it has them: what it starts from.
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
    quantization: Mapping[str, Any]
    start: Mapping[str, str]
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
    def train_seconds(self) -> float:
        """Mean time of training."""
        return statistics.fmean(run.train_seconds for run in self.runs)

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
        raise RunError(
            f"{path} is not finished, it has no result.json; go on with it: "
            f"qcli train --resume {path}"
        )
    result, totals = run.result(), run.read("plan.json").get("totals")
    if not totals:
        raise RunError(f"{path / 'plan.json'} is damaged: it has no totals")
    is_quantized = (path / "quantization.json").exists()
    quantization = run.read("quantization.json") if is_quantized else {}
    return Run(
        path=path.resolve(),
        network=record["architecture"],
        dataset=record["dataset"],
        method=quantization.get("name", "float"),
        training=run.read("training.json"),
        quantization=quantization,
        start={key: record[key] for key in ("init_from", "teacher") if record.get(key)},
        best=best_top1(result),
        last=result["last"]["top1"],
        weight_bytes=totals["weight_bytes"],
        bit_operations=totals["bit_operations"],
        train_seconds=result["train_seconds"],
    )


def group_runs(runs: Sequence[Run]) -> list[Contender]:
    """Put runs together that differ in their seeds alone, in the order in which they came."""
    groups: defaultdict[str, list[Run]] = defaultdict(list)
    for run in {run.path: run for run in runs}.values():
        kept = {key: part for key, part in _trained(run).items() if key != "seed"}
        method = {key: part for key, part in run.quantization.items() if key not in WORDS}
        same = [run.network, run.dataset, run.method, kept, method, sorted(run.start)]
        groups[json.dumps(same, sort_keys=True)].append(run)
    return [Contender(tuple(group)) for group in groups.values()]


def find_unfairness(contenders: Sequence[Contender]) -> list[str]:
    """Return what else differs between the runs than their methods: one sentence each."""
    fields = [_fields(contender) for contender in contenders]
    found = []
    for key in sorted({key for each in fields for key in each}):
        values = list(dict.fromkeys(json.dumps(each.get(key)) for each in fields))
        if len(values) > 1:
            found.append(f"not the same {key}: {', '.join(values)}")
    for contender in contenders:
        seeds = [run.training["seed"] for run in contender.runs]
        if len(set(seeds)) < len(seeds):
            found.append(f"{contender.first.method} has the same seed more than once: {seeds}")
    return found


def _fields(contender: Contender) -> dict[str, Any]:
    """Return what should be alike, by dotted key; seeds decide the order of the images."""
    run = contender.first
    trained = _trained(run) | {"seed": sorted({each.training["seed"] for each in contender.runs})}
    alike = {"network": run.network, "data set": run.dataset, "start": sorted(run.start)}
    return alike | dict(_flatten(trained))


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, Mapping):
            yield from _flatten(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", part


def _trained(run: Run) -> dict[str, Any]:
    return {key: part for key, part in run.training.items() if key not in WORDS | IDLE}
