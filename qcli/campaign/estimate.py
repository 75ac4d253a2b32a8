"""What jobs will cost, before anything starts: work, time, memory and disk.

Time is measured: each network takes a few steps on random images of its shape, on the device that
would train it. Memory and disk are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.state import PartialState
from torch import Tensor, nn

from qcli.campaign.job import Job
from qcli.catalog.catalog import Catalog
from qcli.errors import DataError
from qcli.quantization.calibration import calibrate
from qcli.quantization.cost import count_cost
from qcli.recipe.setting import Setting
from qcli.training.assembly import assemble
from qcli.training.data import load_splits
from qcli.training.loss import Loss, training_loss
from qcli.training.splits import ArraySplit, Splits

# Enough for a stable time, few enough for a network that is made for a GPU.
MEASURED_PIXELS = 32 * 224 * 224
MOST_MEASURED_IMAGES = 64
# A backward pass computes two products where the forward pass computes one.
PASSES_OF_A_STEP = 3
OPTIMIZER_STATES = {"sgd": 1, "adam": 2, "adamw": 2}


@dataclass(frozen=True)
class Estimate:
    """What one job will cost from its beginning.

    Args:
        job: Which.
        state: "finished", "goes on" or "new".
        problem: Why the data cannot be read; empty: they can.
        images: Training images that all epochs together show; None: the data cannot be read.
        macs: Multiply-accumulates of the whole run, three for each of a training image.
        seconds: Time of training and evaluation, alone on this machine.
        memory_bytes: Parameters, gradients, optimizer, kept activations of a micro-batch, data.
        disk_bytes: Weights twice, and two checkpoints for a moment.
    """

    job: Job
    state: str
    problem: str
    images: int | None
    macs: int | None
    seconds: float | None
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class _Pace:
    """What a few steps showed."""

    training_seconds_per_image: float
    evaluation_seconds_per_image: float
    activation_bytes_per_image: int


def estimate_jobs(
    jobs: Sequence[Job], catalog: Catalog, data_root: Path | None, *, cpu: bool
) -> list[Estimate]:
    """Estimate each job; those of one row with other seeds cost the same.

    Args:
        jobs: What is to be run.
        catalog: Where plugins are found.
        data_root: Where data sets lie; without it only data sets that need no files are counted.
        cpu: Whether GPUs are left alone.
    """
    device = PartialState(cpu=cpu).device
    known: dict[str, Estimate] = {}
    estimates = []
    for job in jobs:
        if job.row.id not in known:
            known[job.row.id] = _estimate(job, catalog, data_root, device)
        twin = known[job.row.id]
        fields = {**vars(twin), "job": job, "state": _state(job)}
        estimates.append(Estimate(**fields))
    return estimates


def _state(job: Job) -> str:
    if job.result() is not None:
        return "finished"
    return "goes on" if (job.path / "run.json").exists() else "new"


def _estimate(job: Job, catalog: Catalog, root: Path | None, device: torch.device) -> Estimate:
    setting = job.setting(catalog)
    recipe = setting.training
    assert recipe is not None
    splits, problem = _load(setting, root)
    num_classes = splits.num_classes if splits else setting.architecture.default_num_classes
    assembly = assemble(setting, catalog, num_classes)
    model = assembly.model.to(device)
    pace = _measure(model, setting, num_classes, device)
    state = sum(tensor.nbytes for tensor in model.state_dict().values())
    trained = sum(parameter.nbytes for parameter in model.parameters())
    optimizer = OPTIMIZER_STATES[recipe.optimizer.name] * trained
    activations = pace.activation_bytes_per_image * recipe.batch_size // recipe.accumulate
    macs = count_cost(assembly.plan).macs
    train, test = (len(splits.train), len(splits.test)) if splits else (0, 0)
    seconds = train * pace.training_seconds_per_image + test * pace.evaluation_seconds_per_image
    shown = PASSES_OF_A_STEP * train + test
    return Estimate(
        job=job,
        state="",
        problem=problem,
        images=recipe.epochs * train if splits else None,
        macs=recipe.epochs * macs * shown if splits else None,
        seconds=recipe.epochs * seconds if splits else None,
        memory_bytes=state + trained + optimizer + activations + _resident_bytes(splits),
        disk_bytes=2 * state + 2 * (state + optimizer),
    )


def _load(setting: Setting, root: Path | None) -> tuple[Splits | None, str]:
    try:
        return load_splits(setting, root), ""
    except DataError as error:
        return None, str(error)


def _resident_bytes(splits: Splits | None) -> int:
    parts = (splits.train, splits.test) if splits else ()
    return sum(part.images.nbytes for part in parts if isinstance(part, ArraySplit))


def _measure(model: nn.Module, setting: Setting, num_classes: int, device: torch.device) -> _Pace:
    """Take two steps, of which the first warms up, and evaluate once."""
    assert setting.training is not None
    shape = setting.image_shape
    count = min(MOST_MEASURED_IMAGES, max(2, MEASURED_PIXELS // (shape[1] * shape[2])))
    images = torch.randn(count, *shape, device=device)
    labels = torch.randint(num_classes, (count,), device=device)
    calibrate(model, [images])
    loss = training_loss(setting.training)
    kept: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(_count_into(kept), lambda tensor: tensor):
        _step(model, loss, images, labels)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    activations = sum(size for place, size in kept.items() if place not in own)
    training = _seconds(lambda: _step(model, loss, images, labels), device)
    model.eval()
    with torch.no_grad():
        evaluation = _seconds(lambda: model(images), device)
    return _Pace(training / count, evaluation / count, activations // count)


def _step(model: nn.Module, loss: Loss, images: Tensor, labels: Tensor) -> None:
    torch.autograd.backward(loss(model(images), labels))


def _count_into(kept: dict[int, int]) -> Callable[[Tensor], Tensor]:
    """Return a hook that notes the memory behind each tensor which the backward pass needs."""

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    return note


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
