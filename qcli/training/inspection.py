"""Look at the network of a run: its weights, what flows through it, what it takes for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from qcli.errors import QcliError
from qcli.quantization.cost import count_cost
from qcli.quantization.distribution import Distribution, describe_weights, describing_values
from qcli.quantization.network_graph import NetworkGraph, trace_graph
from qcli.recipe.training import TrainingRecipe
from qcli.training.batches import EvaluationBatches, Process
from qcli.training.data import load_splits, make_evaluation, select_images
from qcli.training.evaluation import Metrics, evaluate, evaluating
from qcli.training.loss import evaluation_loss
from qcli.training.record import SessionOptions
from qcli.training.revival import Revival, revive_run
from qcli.training.session import open_accelerator
from qcli.training.splits import Splits

# So many images show what flows through the layers.
IMAGES_LOOKED_AT = 64
# MACs of all test images that are measured unless a number is asked for: a minute of a slow CPU.
MOST_MACS = 5e11


@dataclass(frozen=True)
class InspectionOptions:
    """What to look at.

    Args:
        data_dir: Where data sets lie; None: where they lay when the run was made.
        weights: "best" or "last".
        images: How many test images are measured; None: all, or as many as take no minute.
        cpu: Whether to leave GPUs alone.
        threads: CPU threads; None: torch's choice.
        plugins: Modules to load beside those of the run.
    """

    data_dir: Path | None = None
    weights: str = "best"
    images: int | None = None
    cpu: bool = False
    threads: int | None = None
    plugins: Sequence[str] = ()


@dataclass(frozen=True)
class Inspection:
    """What was seen.

    Args:
        weights: Of each layer, in the order of the plan.
        values: Of each quantized input and output, in the order in which they are met.
        graph: What the network computes; None where its calls cannot be followed.
        metrics: On the test images that were measured; None where there are none.
        available: How many test images there are.
        class_names: In the order of the labels; numbers where the data set knows no names.
        left_out: What could not be looked at and why, one sentence each.
    """

    weights: tuple[Distribution, ...] = ()
    values: tuple[Distribution, ...] = ()
    graph: NetworkGraph | None = None
    metrics: Metrics | None = None
    available: int = 0
    class_names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Subject:
    """A network that is looked at, on its device."""

    revival: Revival
    recipe: TrainingRecipe
    device: torch.device
    options: InspectionOptions


def inspect_run(path: Path, options: InspectionOptions) -> Inspection:
    """Rebuild the network of a run and look at it; what cannot be is left out, and said."""
    try:
        revival = revive_run(path, options.weights, options.plugins)
    except QcliError as error:
        return Inspection(left_out=(f"weights, activations, classes, graph: {error}",))
    recipe = revival.setting.training
    assert recipe is not None
    # What is deployed computes in float32, whatever it was trained in.
    plain = replace(recipe, precision="float32")
    accelerator = open_accelerator(plain, SessionOptions(cpu=options.cpu, threads=options.threads))
    revival.model.to(accelerator.device)
    subject = _Subject(revival, plain, accelerator.device, options)
    with evaluating(revival.model):
        weights = tuple(describe_weights(revival.model, revival.plan))
    found = _follow_calls(subject, Inspection(weights))
    try:
        return _look_at_images(subject, found)
    except QcliError as error:
        reason = f"activations and classes: {error}; -p names the folder of the data"
        return replace(found, left_out=(*found.left_out, reason))


def _follow_calls(subject: _Subject, found: Inspection) -> Inspection:
    """Trace the network's graph."""
    revival = subject.revival
    try:
        graph = trace_graph(revival.model, revival.setting.image_shape)
    except QcliError as error:
        return replace(found, left_out=(f"the network's graph: {error}",))
    return replace(found, graph=graph)


def _look_at_images(subject: _Subject, found: Inspection) -> Inspection:
    """Measure on the test set, and describe what flows through the network."""
    revival, options = subject.revival, subject.options
    splits = load_splits(revival.setting, _root(revival, options))
    model, available = revival.model, len(splits.test)
    few = _choose(subject, splits, min(IMAGES_LOOKED_AT, available))
    with evaluating(model), describing_values(model) as values:
        model(torch.cat([batch.images for batch in few]))
    count = min(available, options.images or _affordable(revival))
    loss = evaluation_loss(subject.recipe)
    batches = _choose(subject, splits, count)
    left_out = found.left_out
    if count < available:
        left_out += (
            f"{available - count:,} of {available:,} test images were not measured: "
            f"`--images {available}` measures all; `qcli eval` does, too",
        )
    return replace(
        found,
        values=tuple(values.values()),
        metrics=evaluate(model, batches, subject.device, loss, splits.num_classes),
        available=available,
        class_names=tuple(map(str, splits.class_names or range(splits.num_classes))),
        left_out=left_out,
    )


def _choose(subject: _Subject, splits: Splits, count: int) -> EvaluationBatches:
    """Return so many test images, evenly spread: many sets are in the order of their classes."""
    test = splits.test
    if count < len(test):
        test = select_images(test, torch.arange(count) * len(test) // count)
    process = Process(0, 1, subject.device)
    shape = subject.revival.setting.image_shape
    return make_evaluation(test, splits, subject.recipe, shape, process)


def _affordable(revival: Revival) -> int:
    macs = max(1, count_cost(revival.plan).macs)
    return max(IMAGES_LOOKED_AT, int(MOST_MACS / macs))


def _root(revival: Revival, options: InspectionOptions) -> Path | None:
    recorded = revival.record["data_root"]
    return options.data_dir or (Path(recorded) if recorded else None)
