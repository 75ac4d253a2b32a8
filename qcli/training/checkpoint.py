"""The state from which a run goes on bit for bit: written beside, then moved into place."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from qcli.errors import RunError
from qcli.quantization.ops import all_reduce_max
from qcli.training.background import BackgroundWriter
from qcli.training.durable import give_usual_mode, is_disk_error, sync_to_disk
from qcli.training.position import Position
from qcli.training.run_files import read_object
from qcli.training.run_lock import gone
from qcli.training.seal import hash_file
from qcli.training.snapshot import OPTIMIZER, Snapshot, restore

CURRENT = "checkpoint"
BESIDE = "checkpoint.new"
PREVIOUS = "checkpoint.old"
POSITION = "position.json"
CODES = "codes.safetensors"
# What earlier versions wrote, with the help of pickle, which is read from no run.
PICKLED = "optimizer.bin"


def save_checkpoint(
    accelerator: Accelerator,
    run: Path,
    position: Position,
    codes: Mapping[str, Tensor] | None = None,
    writer: BackgroundWriter | None = None,
) -> None:
    """Save the state of every process; the previous checkpoint stays until this one is in place.

    One process alone copies its state and leaves the rest to the writer, whose `join` raises what
    this would. Several processes must agree that each has written its part: they all write now.

    Args:
        accelerator: Knows the model, the optimizer and the random states.
        run: The run directory.
        position: Where training is.
        codes: What the health watch compares the next codes with, where it watches.
        writer: Writes it beside the training; None: it is written now.

    Raises:
        RunError: The disk refuses it, in any process; the previous checkpoint is kept.
    """
    # No copies: each epoch makes its codes anew.
    codes = {name: each.cpu() for name, each in (codes or {}).items()}
    if accelerator.num_processes > 1:
        if writer is not None:
            writer.join()
        _save_together(accelerator, run, position, codes)
        return
    snapshot = Snapshot(accelerator)

    def write() -> None:
        with _agreed(accelerator, run):
            _make_beside(run, codes)
            snapshot.write(run / BESIDE)
            _move_into_place(run, position)

    writer.submit(write) if writer is not None else write()


def _save_together(
    accelerator: Accelerator, run: Path, position: Position, codes: Mapping[str, Tensor]
) -> None:
    with _agreed(accelerator, run):
        if accelerator.is_main_process:
            _make_beside(run, codes)
    with _agreed(accelerator, run):
        Snapshot(accelerator).write(run / BESIDE)
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
    failed = error is not None
    if accelerator.num_processes > 1:
        failed = bool(all_reduce_max(torch.tensor(int(failed), device=accelerator.device)))
    if not failed:
        return
    if accelerator.is_main_process:
        shutil.rmtree(run / BESIDE, ignore_errors=True)
    if not run.is_dir():
        raise gone(run) from error
    raise RunError(
        f"the checkpoint cannot be written to {run}: {error or 'another process failed'}; "
        f"{_advice(run)}"
    ) from error


def _advice(run: Path) -> str:
    if not has_checkpoint(run):
        return "make room, then give the same command again"
    return f"the previous one is kept; make room, then: qcli train --resume {run}"


def _make_beside(run: Path, codes: Mapping[str, Tensor]) -> None:
    _clear(run / BESIDE)
    (run / BESIDE).mkdir()
    if codes:
        save_file(dict(codes), run / BESIDE / CODES)
        give_usual_mode(run / BESIDE / CODES)


def _move_into_place(run: Path, position: Position) -> None:
    """Replace the checkpoint so that at every moment a complete one has one of the two names."""
    write_position(run / BESIDE, position)
    for file in (run / BESIDE).iterdir():
        sync_to_disk(file)
    sync_to_disk(run / BESIDE)
    if (run / CURRENT).exists():
        _clear(run / PREVIOUS)
        (run / CURRENT).rename(run / PREVIOUS)
    (run / BESIDE).rename(run / CURRENT)
    sync_to_disk(run)
    _clear(run / PREVIOUS)


def _clear(folder: Path) -> None:
    """Remove a folder; of a link, the link alone."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def write_position(checkpoint: Path, position: Position) -> None:
    """Write the position, with the checksums of all other files and of itself."""
    others = sorted(file for file in checkpoint.iterdir() if file.name != POSITION)
    files = {file.name: hash_file(file) for file in others}
    value = {**position.to_json(), "files": files}
    text = json.dumps({**value, "sha256": _hash_of(value)})
    (checkpoint / POSITION).write_text(text, "utf-8")


def _hash_of(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


def _read_position(checkpoint: Path) -> Position:
    """Read the position, and see that all files are those that were written with it.

    Raises:
        RunError: One of them is damaged or missing.
    """
    value = read_object(checkpoint / POSITION)
    if value.pop("sha256") != _hash_of(value):
        raise RunError(f"{checkpoint / POSITION} is damaged: it does not match its checksum")
    for name, digest in value.pop("files").items():
        if not (checkpoint / name).is_file():
            raise RunError(f"{checkpoint / name} is missing, or no file")
        if hash_file(checkpoint / name) != digest:
            raise RunError(f"{checkpoint / name} is damaged: it does not match its checksum")
    try:
        return Position.from_json(value)
    except TypeError as error:
        raise RunError(f"{checkpoint / POSITION} is damaged: {error}") from None


def find_checkpoint(run: Path) -> Path:
    """Return the newest complete checkpoint of a run.

    Raises:
        RunError: There is none.
    """
    found = _complete(run)
    if found is None:
        raise RunError(
            f"{run} has no complete checkpoint: start a new run, perhaps with --init-from"
        )
    return found


def has_checkpoint(run: Path) -> bool:
    """Say whether a run has a complete checkpoint."""
    return _complete(run) is not None


def _complete(run: Path) -> Path | None:
    places = (run / name for name in (CURRENT, PREVIOUS))
    return next((place for place in places if (place / POSITION).exists()), None)


def load_checkpoint(accelerator: Accelerator, run: Path) -> Position:
    """Load the newest complete checkpoint into the prepared model and optimizer.

    What an interrupted save left beside it is removed.

    Returns:
        The position that was saved with it.

    Raises:
        RunError: There is none, or it is damaged, or it does not fit the recipes.
    """
    checkpoint = find_checkpoint(run)
    if (checkpoint / PICKLED).exists() and not (checkpoint / OPTIMIZER).exists():
        raise RunError(
            f"{checkpoint} is of an earlier qcli, which wrote pickles, and a pickle can run any "
            f"program: go on with that qcli, or start a new run with --init-from {run}"
        )
    try:
        position = _read_position(checkpoint)
        restore(accelerator, checkpoint)
    except RunError:
        raise
    except Exception as error:
        # Damage shows as any error of json and safetensors, or of what takes up the state.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"{checkpoint} is damaged or of another network: {reason}") from error
    if accelerator.is_main_process and checkpoint.name == CURRENT:
        # What was being removed or written when the run was stopped.
        _clear(run / PREVIOUS)
        _clear(run / BESIDE)
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
