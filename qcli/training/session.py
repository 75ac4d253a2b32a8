"""A run from beginning to end, in the order that everything else relies on.

Build the float network, load weights, plan, quantize, move to the device, calibrate, group the
parameters, prepare for processes, resume, train, write the result.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import nn

from qcli.catalog.catalog import Catalog
from qcli.errors import UsageError
from qcli.quantization.calibration import calibrate
from qcli.quantization.finding import Finding
from qcli.quantization.health import Health
from qcli.quantization.plan import Plan
from qcli.quantization.roles import assign_roles
from qcli.recipe.setting import Setting
from qcli.recipe.training import TrainingRecipe
from qcli.training.assembly import Assembly, assemble
from qcli.training.background import BackgroundWriter
from qcli.training.batches import Process
from qcli.training.data import Data, load_splits, make_data
from qcli.training.freezing import freeze
from qcli.training.interruption import Interruption
from qcli.training.learner import make_learner
from qcli.training.loop import Loop, Report
from qcli.training.opening import choose_path, open_run
from qcli.training.optimizer import find_spared
from qcli.training.peers import lost_peers_told, patience
from qcli.training.pixels import describe_pixels
from qcli.training.position import Position
from qcli.training.recalibration import share_buffers
from qcli.training.record import RunFacts, RunRecord, SessionOptions
from qcli.training.result import make_result
from qcli.training.resumption import take_up
from qcli.training.run_directory import RunDirectory
from qcli.training.teacher import load_teacher, require_teacher
from qcli.training.tracking import Tracking, require_trackers
from qcli.training.tuning import settle

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class SessionReport(Report, Protocol):
    """Where a session says what happens."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""

    def begin_run(self, setting: Setting, plan: Plan, path: Path, device: str) -> None:
        """Hear that training begins."""

    def end_watch(self, health: Health, findings: Sequence[Finding]) -> None:
        """Hear how the network is after training."""


def run_session(
    setting: Setting, options: SessionOptions, catalog: Catalog, report: SessionReport
) -> tuple[Path, Mapping[str, Any]]:
    """Train a setting, or go on with it.

    Returns:
        The run directory, and the result that it holds.

    Raises:
        QcliError: What went wrong; everything written before stays.
    """
    path = choose_path(setting, options)
    with lost_peers_told(path, options.patience):
        return _run(path, setting, options, catalog, report)


def _run(
    path: Path,
    setting: Setting,
    options: SessionOptions,
    catalog: Catalog,
    report: SessionReport,
) -> tuple[Path, Mapping[str, Any]]:
    recipe = setting.training
    assert recipe is not None
    require_teacher(recipe, options.teacher)
    require_trackers(options.trackers)
    accelerator = open_accelerator(recipe, options)
    process = Process(accelerator.process_index, accelerator.num_processes, accelerator.device)
    set_seed(recipe.seed)
    splits = load_splits(setting, options.data_root)
    data = make_data(splits, recipe, setting.image_shape, process)
    _tell_data(data, report)
    assembly = assemble(setting, catalog, splits.num_classes, options.init_from)
    if options.patience is not None and process.count == 1:
        report.note("--patience has no effect: there is one process")
    _tell_start(setting, assembly, options, report)
    model = assembly.model.to(accelerator.device)
    with _lone_images_told():
        _calibrate(model, assembly, data, recipe, options)
    teacher = load_teacher(
        options.teacher, setting, splits, process.device, report.note, options.plugins
    )
    _limit_training(model, recipe, report)
    with _lone_images_told():
        recipe = settle(accelerator, model, recipe, data.training, options, report.note)
    # From here on processes may draw differently: what must be alike is keyed.
    set_seed(recipe.seed, device_specific=True)
    learner = make_learner(accelerator, model, recipe, teacher, patience(options.patience))
    run = open_run(path, options, accelerator)
    pixels = describe_pixels(splits, recipe, setting.image_shape)
    facts = RunFacts(setting, options, assembly.plan, splits.num_classes, pixels, learner)
    record = RunRecord(run, accelerator.is_main_process)
    try:
        with _lone_images_told(), lost_peers_told(run.path, options.patience):
            result = _train(facts, data, run, record, report)
    except BaseException as error:
        record.fail(error)
        raise
    finally:
        run.release()
        accelerator.end_training()
    return run.path, result


def _calibrate(
    model: nn.Module,
    assembly: Assembly,
    data: Data,
    recipe: TrainingRecipe,
    options: SessionOptions,
) -> None:
    if options.resume is None:
        calibrate(model, data.training.calibration(recipe.calibration_batches), assembly.fresh)
    # Equal in theory; a device may round otherwise, and a quantizer must start alike everywhere.
    share_buffers(model)


@contextmanager
def _lone_images_told() -> Iterator[None]:
    """Say in words of ours that a norm cannot use a batch of one."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            "a norm receives one image, which has no variance; use a larger batch_size, or fewer "
            "processes x accumulate"
        ) from error


def _tell_data(data: Data, report: SessionReport) -> None:
    for note in data.notes:
        report.note(note)
    division = data.training.division
    left_out = division.num_images - division.images_per_epoch
    if left_out:
        report.note(f"the last {left_out} images of each epoch are left out: no full batch")


def _tell_start(
    setting: Setting, assembly: Assembly, options: SessionOptions, report: SessionReport
) -> None:
    """Say what weights that are there leave without effect, and what they do not reach."""
    drawn = setting.training.initialization if setting.training else "default"
    if not options.init_from:
        if setting.architecture_options.get("pretrained") and not setting.starts_trained:
            report.note(
                f"initialization {drawn} draws all layers anew; the norms keep what the network "
                "brings, unless you type --set architecture.pretrained=false"
            )
        return
    if drawn != "default":
        report.note(f"initialization {drawn} has no effect: weights were loaded")
    if assembly.fresh:
        report.note(f"{len(assembly.fresh)} quantizers start fresh, the rest from the weights")


def _limit_training(model: nn.Module, recipe: TrainingRecipe, report: SessionReport) -> None:
    """Freeze what the recipe leaves as it is, and say what a method keeps from decay."""
    freeze(model, recipe.freeze)
    spared = find_spared(assign_roles(model), recipe.optimizer)
    if spared:
        report.note(spared)


def _train(
    facts: RunFacts, data: Data, run: RunDirectory, record: RunRecord, report: SessionReport
) -> Mapping[str, Any]:
    """Begin or go on, train to the end, and write the result."""
    learner = facts.learner
    with (
        Tracking(report.note, learner.accelerator.device) as tracking,
        Interruption(learner.accelerator.num_processes) as interruption,
        BackgroundWriter() as writer,
    ):
        loop = Loop(learner, data, run, report, interruption, writer, tracking)
        position = _begin(loop, facts, record, report)
        report.begin_run(facts.setting, facts.plan, run.path, str(loop.device))
        if learner.accelerator.is_main_process:
            tracking.start(facts.options.trackers, run.path, facts.setting, loop.rows)
        last = loop.train(position)
        if loop.watch:
            report.end_watch(loop.watch.rows[-1], loop.watch.findings())
        result = make_result(loop, last, facts.plan)
        record.finish(result)
    return result


def _begin(loop: Loop, facts: RunFacts, record: RunRecord, report: SessionReport) -> Position:
    """Write what a new run is made of, or take up what a run that goes on has."""
    if facts.options.resume is not None:
        position = take_up(loop, facts, report.note)
        record.go_on()
        return position
    record.begin(facts)
    position = Position()
    loop.save(position)
    # Nothing is written while the training's workers are forked.
    loop.writer.join()
    return position


def open_accelerator(recipe: TrainingRecipe, options: SessionOptions) -> Accelerator:
    """Open devices and processes for a recipe.

    Raises:
        UsageError: The precision does not work on the device.
    """
    if isinstance(options.threads, int):
        torch.set_num_threads(options.threads)
    # accelerate keeps its state for the life of the process; a run starts from a clean one.
    if not torch.distributed.is_initialized():
        AcceleratorState._reset_state(reset_partial_state=True)
    # torch waits half an hour on CPUs.
    state = PartialState(cpu=options.cpu, timeout=patience(options.patience))
    if recipe.precision == "float16" and state.device.type != "cuda":
        raise UsageError("precision float16 needs CUDA; use bfloat16 or float32")
    # A resumed run must pick the same algorithms: no timing race between them, none that adds in
    # an order of its own.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    _silence_torch()
    # Norms keep their own statistics in every process: they are shared before each evaluation.
    parallel = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    return Accelerator(
        cpu=options.cpu,
        mixed_precision=MIXED_PRECISION[recipe.precision],
        kwargs_handlers=[parallel],
    )


def _silence_torch() -> None:
    """Keep warnings from users that they can do nothing about."""
    # accelerate has no other name yet for the argument that torch 2.15 renames.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
    # One input channel makes two layouts of a gradient equal; torch warns at each.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
