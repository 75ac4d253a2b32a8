"""The other processes of a run: how long one waits for them, what is said when they are gone."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from qcli.errors import RunError, UsageError
from qcli.quantization.ops import all_reduce_max
from qcli.training.checkpoint import has_checkpoint

# Minutes that one process waits for another. Compiling and the first read of a data set take long.
PATIENCE = 10.0
# How long a file of one host may take to be seen by another: network file systems keep listings.
# The others wait meanwhile, so that it is half of the patience at most.
SECONDS_TO_BE_SEEN = 60.0
TOKEN = ".shared"


def patience(minutes: float | None) -> timedelta:
    """Return how long a process waits for others; None: the default."""
    return timedelta(minutes=PATIENCE if minutes is None else minutes)


def is_peer_error(error: BaseException) -> bool:
    """Say whether an error means that another process cannot be reached."""
    text = str(error).lower()
    named = any(word in text for word in ("gloo", "nccl", "connection closed by peer"))
    return named or isinstance(error, torch.distributed.DistError)


@contextmanager
def lost_peers_told(run: Path, minutes: float | None) -> Iterator[None]:
    """Say in words of ours that another process has ended, or does not answer."""
    try:
        yield
    except RuntimeError as error:
        if not is_peer_error(error):
            raise
        waited = f"{PATIENCE if minutes is None else minutes:g} minutes"
        what = (
            f"another process has not answered for {waited}"
            if "timed out" in str(error).lower()
            else "another process has ended, and its message says why, or cannot be reached"
        )
        raise RunError(f"{what}; {_advice(run)}") from error


def _advice(run: Path) -> str:
    if has_checkpoint(run):
        return (
            f"the last checkpoint is kept; go on, with as many processes: qcli train --resume {run}"
        )
    return "give the same command again"


def require_shared(run: Path, accelerator: Accelerator, minutes: float | None) -> None:
    """Refuse a run directory that not every process sees: each writes its part of checkpoints.

    Args:
        run: The run directory.
        accelerator: Knows the processes.
        minutes: That they wait for one another; None: the default.

    Raises:
        UsageError: A process runs on a host that has another disk there.
    """
    if accelerator.num_processes == 1:
        return
    token = run / TOKEN
    wire: list[Any] = [_write(token) if accelerator.is_main_process else None]
    broadcast_object_list(wire)
    seconds = min(SECONDS_TO_BE_SEEN, patience(minutes).total_seconds() / 2)
    is_lost = not _is_seen(token, wire[0], seconds)
    others = bool(all_reduce_max(torch.tensor(int(is_lost), device=accelerator.device)))
    if accelerator.is_main_process:
        token.unlink(missing_ok=True)
    if others:
        where = "is not seen here" if is_lost else "is not seen by every process"
        raise UsageError(
            f"{run} {where}: all hosts need it on a disk that they share, under the same path; "
            "choose such a place with -o"
        )


def _write(token: Path) -> str | None:
    text = uuid.uuid4().hex
    try:
        token.write_text(text, "utf-8")
    except OSError:
        # What is written next fails too, and says why.
        return None
    return text


def _is_seen(token: Path, text: str | None, seconds: float) -> bool:
    if text is None:
        return True
    end = time.monotonic() + seconds
    while True:
        try:
            if token.read_text("utf-8") == text:
                return True
        except OSError:
            pass
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
