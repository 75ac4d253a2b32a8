"""What recipe and command line leave to a measurement, settled before training begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from accelerate import Accelerator
from torch import nn

from qcli.recipe.training import TrainingRecipe
from qcli.training.batches import TrainingBatches
from qcli.training.compilation import choose_compilation
from qcli.training.record import SessionOptions
from qcli.training.rehearsal import Rehearsal, Workload
from qcli.training.run_directory import RunDirectory
from qcli.training.threads import choose_threads

Note = Callable[[str], None]


def settle(
    accelerator: Accelerator,
    model: nn.Module,
    recipe: TrainingRecipe,
    batches: TrainingBatches,
    options: SessionOptions,
    note: Note,
) -> TrainingRecipe:
    """Choose threads, then compilation, where they are "auto"; set the threads.

    A run that goes on takes what it chose at its beginning. The model stays as it is; random
    states do not.

    Returns:
        The recipe, with a `compile` that is True or False.
    """
    if options.resume is not None:
        return _recorded(recipe, options)
    if recipe.compile != "auto" and options.threads != "auto":
        return recipe
    workload = Workload(
        accelerator,
        model,
        recipe,
        next(iter(batches.epoch(0, 0))),
        recipe.epochs * batches.division.num_steps,
    )
    rehearsal = Rehearsal(workload)
    if options.threads == "auto":
        choose_threads(rehearsal, note)
    if recipe.compile == "auto":
        return replace(recipe, compile=choose_compilation(rehearsal, note))
    return recipe


def _recorded(recipe: TrainingRecipe, options: SessionOptions) -> TrainingRecipe:
    if recipe.compile != "auto":
        return recipe
    assert options.resume is not None
    record = RunDirectory(options.resume).record()
    return replace(recipe, compile=bool(record.get("compiled")))
