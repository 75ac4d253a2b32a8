"""Measure the network of a run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qcli.training.batches import Process
from qcli.training.data import load_splits, make_evaluation
from qcli.training.evaluation import Metrics, evaluate
from qcli.training.loss import evaluation_loss
from qcli.training.record import SessionOptions
from qcli.training.revival import revive_run
from qcli.training.session import open_accelerator


@dataclass(frozen=True)
class Reevaluation:
    """What a run's network did on the test set.

    Args:
        metrics: With a confusion matrix.
        class_names: In the order of the labels; numbers where the data set knows no names.
    """

    metrics: Metrics
    class_names: tuple[str, ...]


def evaluate_run(
    path: Path,
    *,
    data_dir: Path | None = None,
    weights: str = "best",
    cpu: bool = False,
    threads: int | None = None,
    plugins: Sequence[str] = (),
) -> Reevaluation:
    """Measure a run's network on the test set.

    Args:
        path: The run directory.
        data_dir: Where data sets lie; None: where they lay when it was trained.
        weights: "best" or "last".
        cpu: Whether to leave GPUs alone.
        threads: CPU threads; None: torch's choice.
        plugins: Modules to load, among them those that the run was made with.
    """
    revival = revive_run(path, weights, plugins)
    recipe = revival.setting.training
    assert recipe is not None
    # What is deployed computes in float32, whatever it was trained in.
    plain = replace(recipe, precision="float32")
    accelerator = open_accelerator(plain, SessionOptions(cpu=cpu, threads=threads))
    process = Process(accelerator.process_index, accelerator.num_processes, accelerator.device)
    recorded = revival.record["data_root"]
    root = data_dir or (Path(recorded) if recorded else None)
    splits = load_splits(revival.setting, root)
    shape = revival.setting.image_shape
    batches = make_evaluation(splits.test, splits, plain, shape, process)
    model = revival.model.to(accelerator.device)
    loss = evaluation_loss(recipe)
    metrics = evaluate(model, batches, accelerator.device, loss, splits.num_classes)
    numbers = map(str, range(splits.num_classes))
    return Reevaluation(metrics, tuple(splits.class_names or numbers))
