"""How far a run is within its epoch: a small file for whoever looks on from outside."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qcli.training.background import BackgroundWriter
from qcli.training.position import Position

NAME = "progress.json"
SECONDS_BETWEEN_BEATS = 2.0


@dataclass
class Heartbeat:
    """Writes progress.json now and then, beside the training.

    Nothing depends on the file: where it cannot be written, it is left, and the run goes on.

    Args:
        run: The run directory.
        writer: Writes beside the training.
        num_steps: Steps of an epoch.
        beats: Whether to write at all: one process alone does.
    """

    run: Path
    writer: BackgroundWriter
    num_steps: int
    beats: bool
    due: float = 0.0

    def beat(self, position: Position) -> None:
        """Write where training is, if some seconds have passed since the last time."""
        now = time.monotonic()
        if not self.beats or now < self.due:
            return
        self.due = now + SECONDS_BETWEEN_BEATS
        value = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "steps": self.num_steps,
            "seconds": round(position.seconds, 3),
        }
        self.writer.submit(partial(_write, self.run, value))


def _write(run: Path, value: dict[str, Any]) -> None:
    beside = run / f".{NAME}.new"
    # Not synced to the disk: after a power cut nobody asks how far an epoch was.
    try:
        beside.write_text(json.dumps(value), "utf-8")
        beside.replace(run / NAME)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def end(run: Path) -> None:
    """Take the file away: the run is over."""
    with contextlib.suppress(OSError):
        (run / NAME).unlink(missing_ok=True)
