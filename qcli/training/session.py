"""A run from beginning to end, in the order that everything else relies on.

Build the float network, load weights, plan, quantize, move to the device, calibrate, group the
parameters, prepare for processes, resume, train, write the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, set_seed

from qcli.catalog.catalog import Catalog
from qcli.errors import RunError, UsageError
from qcli.quantization.calibration import calibrate
from qcli.quantization.plan import Plan
from qcli.quantization.plan_json import plan_to_json
from qcli.recipe.setting import Setting
from qcli.recipe.training import TrainingRecipe
from qcli.training.assembly import assemble
from qcli.training.batches import Process
from qcli.training.checkpoint import load_checkpoint
from qcli.training.data import load_splits, make_data
from qcli.training.interruption import Interruption
from qcli.training.learner import make_learner
from qcli.training.loop import Loop, Position, Report
from qcli.training.record import RunRecord, SessionOptions
from qcli.training.result import make_result
from qcli.training.run_directory import RunDirectory, default_run_path

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class SessionReport(Report, Protocol):
    """Where a session says what happens."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""

    def begin_run(self, setting: Setting, plan: Plan, path: Path, device: str) -> None:
        """Hear that training begins."""


def run_session(
    setting: Setting, options: SessionOptions, catalog: Catalog, report: SessionReport
) -> tuple[Path, Mapping[str, Any]]:
    """Train a setting, or go on with it.

    Returns:
        The run directory, and the result that it holds.

    Raises:
        QcliError: What went wrong; everything written before stays.
    """
    recipe = setting.training
    assert recipe is not None
    accelerator = open_accelerator(recipe, options)
    process = Process(accelerator.process_index, accelerator.num_processes, accelerator.device)
    set_seed(recipe.seed)
    splits = load_splits(setting, options.data_root)
    data = make_data(splits, recipe, setting.image_shape, process)
    assembly = assemble(setting, catalog, splits.num_classes, options.init_from)
    for text in assembly.notes:
        report.note(text)
    model = assembly.model.to(accelerator.device)
    if options.resume is None:
        calibrate(model, data.training.calibration(recipe.calibration_batches))
    learner = make_learner(accelerator, model, recipe)
    run = _open_run(setting, options, accelerator)
    with Interruption() as interruption:
        loop = Loop(learner, data, run, report, interruption)
        record = RunRecord(run, accelerator.is_main_process)
        try:
            if options.resume is None:
                record.begin(setting, options, assembly.plan, splits.num_classes, accelerator)
                position = Position()
                loop._save(position)
            else:
                _require_same(run, assembly.plan, accelerator)
                position = Position.from_json(load_checkpoint(accelerator, run.path))
                record.go_on()
            loop.rows = run.rows()[: position.rows]
            report.begin_run(setting, assembly.plan, run.path, str(accelerator.device))
            loop.train(position)
            result = make_result(loop, assembly.plan)
            record.finish(result)
        except BaseException as error:
            record.fail(error)
            raise
        finally:
            run.release()
            accelerator.end_training()
    return run.path, result


def open_accelerator(recipe: TrainingRecipe, options: SessionOptions) -> Accelerator:
    """Open devices and processes for a recipe.

    Raises:
        UsageError: The precision does not work on the device.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    # accelerate keeps its state for the life of the process; a run starts from a clean one.
    if not torch.distributed.is_initialized():
        AcceleratorState._reset_state(reset_partial_state=True)
    state = PartialState(cpu=options.cpu)
    if recipe.precision == "float16" and state.device.type != "cuda":
        raise UsageError("precision float16 needs CUDA; use bfloat16 or float32")
    if state.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    # Norms keep their own statistics in every process: they are shared before each evaluation.
    parallel = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    return Accelerator(
        cpu=options.cpu,
        mixed_precision=MIXED_PRECISION[recipe.precision],
        kwargs_handlers=[parallel],
    )


def _open_run(setting: Setting, options: SessionOptions, accelerator: Accelerator) -> RunDirectory:
    """Create or reopen the run directory in the main process; the others follow it."""
    paths: list[Any] = [None]
    run = None
    if accelerator.is_main_process:
        run = (
            RunDirectory.reopen(options.resume)
            if options.resume
            else RunDirectory.create(options.work_dir or _default_path(setting))
        )
        paths = [str(run.path)]
    if accelerator.num_processes > 1:
        broadcast_object_list(paths)
    return run or RunDirectory(Path(paths[0]))


def _default_path(setting: Setting) -> Path:
    assert setting.dataset is not None
    recipe = setting.quantization.name if setting.quantization else "float"
    return default_run_path(setting.architecture_name, setting.dataset.name, recipe)


def _require_same(run: RunDirectory, plan: Plan, accelerator: Accelerator) -> None:
    """Refuse to go on with a run that was made otherwise."""
    before = run.read("plan.json")
    now = plan_to_json(plan)
    # The reasons are words: a flag's effect is in the recipe by now.
    strip = [{**row, "because": ""} for row in before.get("layers", ())]
    if strip != [{**row, "because": ""} for row in now["layers"]]:
        raise RunError(
            f"{run.path} was made with another plan: its recipes or the plugins have changed since"
        )
    processes = run.read("run.json")["num_processes"]
    if processes != accelerator.num_processes:
        raise RunError(
            f"{run.path} was made with {processes} processes, not {accelerator.num_processes}: "
            "only the same number goes on bit for bit"
        )
