"""The trained network that teaches another: which one, and whether it fits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from qcli.errors import RunError, UsageError
from qcli.recipe.setting import Setting
from qcli.recipe.training import TrainingRecipe
from qcli.training.distillation import Teacher
from qcli.training.revival import revive_run
from qcli.training.run_directory import RunDirectory
from qcli.training.splits import Splits

WEIGHTS = {"best.safetensors": "best", "last.safetensors": "last"}


def require_teacher(recipe: TrainingRecipe, teacher: Path | None) -> None:
    """Refuse a teacher without a recipe for it, and the other way round.

    Raises:
        UsageError: One of the two is missing.
    """
    if recipe.distill is not None and teacher is None:
        raise UsageError(
            f'"distill" of {recipe.name} needs a trained network: give --teacher RUN, or leave '
            "it out: --set distill=null"
        )
    if recipe.distill is None and teacher is not None:
        raise UsageError(
            f"--teacher {teacher}: {recipe.name} does not distill; say how: "
            '--set distill=\'{"weight": 0.5, "temperature": 1}\''
        )


def find_teacher(path: Path) -> tuple[Path, str]:
    """Return the run directory and the weights, "best" or "last", that a path names.

    Raises:
        UsageError: It names neither a run nor the weights of one.
    """
    if (path / "run.json").exists():
        return path, "best"
    if path.name in WEIGHTS and (path.parent / "run.json").exists():
        return path.parent, WEIGHTS[path.name]
    raise UsageError(
        f"--teacher {path}: allowed: a run directory of qcli train, whose run.json says how its "
        f"network is built, or a file in one: {' or '.join(WEIGHTS)}"
    )


def teacher_hash(path: Path) -> str:
    """Return what tells the weights of a teacher from others; raises RunError without them."""
    run, weights = find_teacher(path)
    with RunDirectory(run).require(f"{weights}.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_teacher(
    path: Path | None,
    setting: Setting,
    splits: Splits,
    device: torch.device,
    tell: Callable[[str], None],
    plugins: Sequence[str] = (),
) -> Teacher | None:
    """Rebuild the network of a run as a teacher.

    Args:
        path: A run directory, or weights in one; None: there is no teacher.
        setting: Of the run that it teaches, whose recipe distills.
        splits: Its data set.
        device: Where that run trains.
        tell: Hears what the two runs feed differently.
        plugins: Modules given with --plugin.

    Raises:
        UsageError: It is no run, or has other classes or images.
        PluginError: It was made with a module that is not among them.
        RunError: The run is damaged.
    """
    if path is None:
        return None
    revival = revive_run(*find_teacher(path), plugins)
    theirs, ours = revival.setting.image_shape, setting.image_shape
    if revival.record["num_classes"] != splits.num_classes:
        raise UsageError(
            f"--teacher {path}: it tells {revival.record['num_classes']} classes apart, "
            f"the data set has {splits.num_classes}"
        )
    if tuple(theirs) != tuple(ours):
        raise UsageError(f"--teacher {path}: it takes images {theirs}, this run has {ours}")
    assert setting.training is not None
    assert setting.training.distill is not None
    for text in _differences(revival.setting, setting):
        tell(text)
    network = revival.model.eval().requires_grad_(False).to(device)
    return Teacher(network, setting.training.distill)


def _differences(teacher: Setting, student: Setting) -> list[str]:
    """Say where the teacher was trained on other images than it sees here."""
    before, now = _feed(teacher), _feed(student)
    return [
        f"the teacher was trained with {name} {before[name]}, it sees {now[name]} here"
        for name in now
        if before[name] != now[name]
    ]


def _feed(setting: Setting) -> dict[str, Any]:
    recipe = setting.training
    assert recipe is not None
    assert setting.dataset is not None
    # Where images are held out, a teacher that was trained on them knows them by heart.
    fraction = recipe.validation_fraction
    options = setting.dataset_options
    return {
        "dataset": setting.dataset.name,
        "dataset options": {key: options[key] for key in options if key != "download"},
        "normalize": recipe.normalize,
        "validation_fraction": f"{fraction} by seed {recipe.seed}" if fraction > 0 else "0",
    }


def require_same_teacher(run: RunDirectory, teacher: Path | None) -> None:
    """Refuse to go on with a run whose teacher has changed.

    Args:
        run: The run that goes on.
        teacher: Where its teacher lies now; None: it has none.

    Raises:
        RunError: Its weights are others.
    """
    if teacher and teacher_hash(teacher) != run.record()["teacher_sha256"]:
        raise RunError(
            f"{run.path} was taught by other weights than those of {teacher}; put them back, say "
            "where they are with --teacher, or start a new run with --init-from"
        )
