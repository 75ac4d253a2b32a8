"""The state from which a run goes on bit for bit: written beside, then moved into place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import load
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from qcli.errors import RunError
from qcli.quantization.ops import all_reduce_max
from qcli.training.durable import is_disk_error, sync_to_disk
from qcli.training.position import Position

CURRENT = "checkpoint"
BESIDE = "checkpoint.new"
PREVIOUS = "checkpoint.old"
POSITION = "position.json"
CODES = "codes.safetensors"


def save_checkpoint(
    accelerator: Accelerator,
    run: Path,
    position: Position,
    codes: Mapping[str, Tensor] | None = None,
) -> None:
    """Save the state of every process; the previous checkpoint stays until this one is in place.

    Args:
        accelerator: Knows the model, the optimizer and the random states.
        run: The run directory.
        position: Where training is.
        codes: What the health watch compares the next codes with, where it watches.

    Raises:
        RunError: The disk refuses it, in any process; the previous checkpoint is kept.
    """
    with _agreed(accelerator, run):
        if accelerator.is_main_process:
            _make_beside(run)
            if codes:
                save_file(dict(codes), run / BESIDE / CODES)
    with _agreed(accelerator, run):
        accelerator.save_state(str(run / BESIDE))
    with _agreed(accelerator, run):
        if accelerator.is_main_process:
            _move_into_place(run, position)


@contextmanager
def _agreed(accelerator: Accelerator, run: Path) -> Iterator[None]:
    """Let all processes fail where one does: the others would wait for it for ever."""
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        if not is_disk_error(caught):
            raise
        error = caught
    failed = torch.tensor(int(error is not None), device=accelerator.device)
    if not int(all_reduce_max(failed)):
        return
    if accelerator.is_main_process:
        shutil.rmtree(run / BESIDE, ignore_errors=True)
    raise RunError(
        f"the checkpoint cannot be written to {run}: {error or 'another process failed'}; the "
        f"previous one is kept; make room, then: qcli train --resume {run}"
    ) from error


def _make_beside(run: Path) -> None:
    shutil.rmtree(run / BESIDE, ignore_errors=True)
    (run / BESIDE).mkdir()


def _move_into_place(run: Path, position: Position) -> None:
    """Replace the checkpoint so that at every moment a complete one has one of the two names."""
    (run / BESIDE / POSITION).write_text(json.dumps(position.to_json()), "utf-8")
    for file in (run / BESIDE).iterdir():
        sync_to_disk(file)
    sync_to_disk(run / BESIDE)
    if (run / CURRENT).exists():
        shutil.rmtree(run / PREVIOUS, ignore_errors=True)
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
    raise RunError(f"{run} has no complete checkpoint: start a new run, perhaps with --init-from")


def load_checkpoint(accelerator: Accelerator, run: Path) -> Position:
    """Load the newest complete checkpoint into the prepared model and optimizer.

    Returns:
        The position that was saved with it.

    Raises:
        RunError: There is none, or it is damaged, or it does not fit the recipes.
    """
    checkpoint = find_checkpoint(run)
    try:
        # accelerate passes over random states that it cannot read.
        load(str(checkpoint / f"random_states_{accelerator.process_index}.pkl"))
        position = Position.from_json(json.loads((checkpoint / POSITION).read_text("utf-8")))
        accelerator.load_state(str(checkpoint))
    except Exception as error:
        # Damage shows as any error of json, safetensors, torch's unpickler or the zip reader.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"{checkpoint} is damaged or of another network: {reason}") from error
    return position


def load_codes(run: Path) -> dict[str, Tensor]:
    """Return the codes that the newest complete checkpoint holds, on the CPU.

    Raises:
        RunError: They are damaged.
    """
    file = find_checkpoint(run) / CODES
    try:
        return load_file(file) if file.exists() else {}
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file} is damaged: {error}") from None
