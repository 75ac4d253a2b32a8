"""The state from which a run goes on bit for bit: written beside, then moved into place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from accelerate import Accelerator

from qcli.errors import RunError
from qcli.training.position import Position
from qcli.training.run_directory import is_disk_error, sync_to_disk

CURRENT = "checkpoint"
BESIDE = "checkpoint.new"
PREVIOUS = "checkpoint.old"
POSITION = "position.json"


def save_checkpoint(accelerator: Accelerator, run: Path, position: Position) -> None:
    """Save the state of every process; the previous checkpoint stays until this one is in place.

    Args:
        accelerator: Knows the model, the optimizer and the random states.
        run: The run directory.
        position: Where training is.

    Raises:
        RunError: The disk refuses it; the previous checkpoint is kept.
    """
    beside = run / BESIDE
    try:
        if accelerator.is_main_process:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
        accelerator.wait_for_everyone()
        accelerator.save_state(str(beside))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (beside / POSITION).write_text(json.dumps(position.to_json()), "utf-8")
            _move_into_place(run)
        accelerator.wait_for_everyone()
    except Exception as error:
        if not is_disk_error(error):
            raise
        shutil.rmtree(beside, ignore_errors=True)
        raise RunError(
            f"the checkpoint cannot be written to {run}: {error}; the previous one is kept; "
            f"make room, then: qcli train --resume {run}"
        ) from error


def _move_into_place(run: Path) -> None:
    """Replace the checkpoint so that at every moment a complete one has one of the two names."""
    for file in (run / BESIDE).iterdir():
        sync_to_disk(file)
    sync_to_disk(run / BESIDE)
    shutil.rmtree(run / PREVIOUS, ignore_errors=True)
    if (run / CURRENT).exists():
        (run / CURRENT).rename(run / PREVIOUS)
    (run / BESIDE).rename(run / CURRENT)
    sync_to_disk(run)
    shutil.rmtree(run / PREVIOUS, ignore_errors=True)


def find_checkpoint(run: Path) -> Path:
    """Return the newest complete checkpoint of a run.

    Raises:
        RunError: There is none.
    """
    for name in (CURRENT, PREVIOUS):
        if (run / name / POSITION).exists():
            return run / name
    raise RunError(f"{run} has no checkpoint: it ended before training began; start it anew")


def load_checkpoint(accelerator: Accelerator, run: Path) -> Position:
    """Load the newest complete checkpoint into the prepared model and optimizer.

    Returns:
        The position that was saved with it.

    Raises:
        RunError: There is none, or it is damaged, or it does not fit the recipes.
    """
    checkpoint = find_checkpoint(run)
    try:
        position = Position.from_json(json.loads((checkpoint / POSITION).read_text("utf-8")))
        accelerator.load_state(str(checkpoint))
    except Exception as error:
        # Damage shows as any error of json, safetensors, torch's unpickler or the zip reader.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{checkpoint} is damaged or of another network: {reason}") from error
    return position
