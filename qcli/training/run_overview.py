"""A run at a glance: its state, how far it is, its best."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

# In the order in which they are listed.
STATES = ("running", "unknown", "interrupted", "died", "failed", "finished", "damaged")
# How many epochs say how long the next will take.
RECENT = 5


@dataclass(frozen=True)
class Beat:
    """How far a run is within an epoch.

    Args:
        epoch: The epoch under way, from 1.
        step: Steps of it that are done.
        steps: Steps of an epoch.
        seconds: Seconds of training in it.
        written: When this was written, by the disk's clock.
    """

    epoch: int
    step: int
    steps: int
    seconds: float
    written: datetime


@dataclass(frozen=True)
class RunOverview:
    """A run at a glance.

    Args:
        path: Its directory.
        state: One of STATES.
        reason: Why it failed, what is damaged, why its state is not known.
        architecture: The network; None where it is not told.
        dataset: The data set.
        recipe: The quantization recipe's name, or "float".
        select_by: What the best epoch is selected by.
        epochs: Epochs that have ended.
        total_epochs: Epochs that it will have.
        beat: How far it is within the next epoch; None where that is not told.
        best: The row of the best epoch.
        rows: The row of every epoch; empty for a finished run.
        train_seconds: Seconds of training so far; None where it is not known.
        started: When it began.
        ended: When it ended.
    """

    path: Path
    state: str
    reason: str = ""
    architecture: str | None = None
    dataset: str | None = None
    recipe: str | None = None
    select_by: str = "top1"
    epochs: int = 0
    total_epochs: int | None = None
    beat: Beat | None = None
    best: Mapping[str, Any] | None = None
    rows: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    train_seconds: float | None = None
    started: datetime | None = None
    ended: datetime | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may still be under way."""
        return self.state in ("running", "unknown")

    @property
    def fraction(self) -> float | None:
        """The part of all epochs that is done, 0..1; None where it is not known."""
        if not self.total_epochs:
            return None
        within = self.beat.step / self.beat.steps if self.beat else 0.0
        return min((self.epochs + within) / self.total_epochs, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """About how long a live run will go on; None where nothing tells."""
        if not self.is_live or self.fraction is None or self.total_epochs is None:
            return None
        recent = [row["train_seconds"] + row["val_seconds"] for row in self.rows[-RECENT:]]
        if recent:
            epoch = float(statistics.median(recent))
        elif self.beat and self.beat.step:
            epoch = self.beat.seconds / self.beat.step * self.beat.steps
        else:
            return None
        return (1 - self.fraction) * self.total_epochs * epoch
