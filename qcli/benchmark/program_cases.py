"""Cases of whole programs: images from the data set to the end of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import torch

from qcli.benchmark.case import Arm, Scope
from qcli.benchmark.machine import has_bfloat16
from qcli.benchmark.requirement import has_compiler
from qcli.benchmark.training_step import RESNET20, arm_of_steps, make_training
from qcli.catalog.load import load_catalog
from qcli.recipe.setting import Request, Setting, resolve_setting
from qcli.training.assembly import build_float_model
from qcli.training.batches import MicroBatch, Process
from qcli.training.data import load_splits, make_data
from qcli.training.evaluation import evaluate
from qcli.training.splits import ArraySplit, Normalization, Splits

TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
# Of CIFAR-10, per channel.
NORMALIZATION = Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
# Of the value space of search-2b.
SEARCH_2B_VALUES = (-1.0, -0.5, 0.5, 1.0)
# The slow side takes its turn with a part of an epoch; the fast side with a whole one.
LOADER_BATCHES = 20
CPU = Process(0, 1, torch.device("cpu"))


def load_cifar10(setting: Setting, root: Path | None) -> Splits:
    """Return CIFAR-10, or without its files random images of the same number and shape."""
    if root is not None:
        return load_splits(setting, root)
    generator = torch.Generator().manual_seed(0)

    def draw(number: int) -> ArraySplit:
        shape = (number, *setting.image_shape)
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return ArraySplit(images, torch.randint(10, (number,), generator=generator))

    return Splits(draw(TRAIN_IMAGES), draw(TEST_IMAGES), 10, NORMALIZATION)


def measure_epoch(scope: Scope, *, recipe: str, cuda: bool) -> dict[str, Arm]:
    """Return whole epochs of training with their evaluation.

    Args:
        scope: Where CIFAR-10 lies.
        recipe: The quantization recipe.
        cuda: Whether to train on the GPU.
    """
    training = make_training(Request(train_json=RESNET20, quant_json=recipe), cuda=cuda)
    splits = load_cifar10(training.setting, scope.data_root)
    process = Process(0, 1, training.device)
    data = make_data(splits, training.learner.recipe, training.setting.image_shape, process)
    epochs, numbers = count(), count()

    def unit() -> None:
        for batches in data.training.epoch(next(epochs), 0):
            training.step(batches, next(numbers))
        # Its result is read, so that the work is done.
        evaluate(training.learner.network, data.test, training.device)

    return {recipe: Arm(unit, data.training.division.images_per_epoch)}


def endless_steps(setting: Setting, splits: Splits) -> Iterator[list[MicroBatch]]:
    """Yield the micro-batches of step after step, epoch after epoch, as a run takes them."""
    assert setting.training is not None
    batches = make_data(splits, setting.training, setting.image_shape, CPU).training
    for epoch in count():
        yield from batches.epoch(epoch, 0)


def compare_pipelines(scope: Scope) -> dict[str, Arm]:
    """Return an epoch of qcli's images, and a part of one of torchvision's."""
    from qcli.benchmark.peers.torchvision_loader import endless_batches

    setting = resolve_setting(Request(train_json=RESNET20), load_catalog())
    assert setting.training is not None
    splits = load_cifar10(setting, scope.data_root)
    assert isinstance(splits.train, ArraySplit)
    size = setting.training.batch_size
    resident = make_data(splits, setting.training, setting.image_shape, CPU).training
    epochs, loader = count(), endless_batches(splits.train, NORMALIZATION, size)

    def read_epoch() -> None:
        for _ in resident.epoch(next(epochs), 0):
            pass

    def read_part() -> None:
        for _ in islice(loader, LOADER_BATCHES):
            pass

    return {
        "torchvision": Arm(read_part, LOADER_BATCHES * size),
        "qcli": Arm(read_epoch, resident.division.images_per_epoch),
    }


def compare_programs(scope: Scope) -> dict[str, Arm]:
    """Return steps with their data: of a plain program, and of qcli as written and at its best."""
    setting = resolve_setting(Request(train_json=RESNET20), load_catalog())
    splits = load_cifar10(setting, scope.data_root)
    return {
        "plain program": plain_program(setting, splits),
        "qcli, float32": program(splits, ()),
        "qcli, fastest here": program(splits, fastest_settings()),
    }


def fastest_settings() -> tuple[str, ...]:
    """Return what to --set on this processor for the most images per second."""
    settings = ["channels_last=true"]
    if has_bfloat16():
        settings.append("precision=bfloat16")
    if has_compiler():
        settings.append("compile=true")
    return tuple(settings)


def program(splits: Splits, overrides: tuple[str, ...]) -> Arm:
    """Return steps of search-2b with their data."""
    request = Request(train_json=RESNET20, quant_json="search-2b", overrides=overrides)
    training = make_training(request)
    steps = arm_of_steps(training, endless_steps(training.setting, splits))
    return replace(steps, settings=overrides)


def plain_program(setting: Setting, splits: Splits) -> Arm:
    """Return steps of search over the same values as a plain PyTorch program takes them."""
    from qcli.benchmark.peers.plain_training import make_plain_step
    from qcli.benchmark.peers.softmax_search import quantize_by_softmax_search
    from qcli.benchmark.peers.torchvision_loader import endless_batches

    assert setting.training is not None
    assert isinstance(splits.train, ArraySplit)
    size = setting.training.batch_size
    torch.manual_seed(setting.training.seed)
    model = build_float_model(setting)
    quantize_by_softmax_search(model, SEARCH_2B_VALUES, hard=True)
    return Arm(make_plain_step(model, endless_batches(splits.train, NORMALIZATION, size)), size)
