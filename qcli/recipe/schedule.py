"""A number as a pure function of training progress: learning rate, temperature, randomness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Where training is.

    Args:
        step: Optimizer steps done before this one, 0..total_steps - 1.
        total_steps: Optimizer steps of the whole run.
        epoch: Passes over the training set done before this one, 0..total_epochs - 1.
        total_epochs: Passes of the whole run.
        seed: The run's seed; with `step` it keys whatever is drawn at random.
    """

    step: int
    total_steps: int
    epoch: int
    total_epochs: int
    seed: int = 0

    @property
    def fraction(self) -> float:
        """The share of the run that is done, 0..1."""
        return self.step / self.total_steps

    @property
    def epochs_done(self) -> float:
        """Passes done, with the part of the one under way."""
        return self.fraction * self.total_epochs


@dataclass(frozen=True)
class Schedule:
    """A number that changes while training goes on; nothing about it needs saving.

    Args:
        kind: constant, linear, slope, cosine, exponential, step, milestones or polynomial.
        start: The value at the beginning, before any warm-up.
        end: Where linear, cosine and polynomial arrive (None: 0); the bound of slope, exponential.
        slope: What slope adds each time.
        factor: What exponential, step and milestones multiply by.
        every: Whether the value changes at each "step" or each "epoch".
        power: The exponent of polynomial.
        period_epochs: Epochs between two drops of step.
        milestones_epochs: The epochs at which milestones drops.
        warm_up_epochs: For so long the value is multiplied by a factor that ends at 1.
        warm_up_factor: That factor at the beginning.
        warm_up_shape: "linear": it grows with each step; "constant": it jumps to 1 at the end.
    """

    kind: str = "constant"
    start: float = 0.0
    end: float | None = None
    slope: float = 0.0
    factor: float = 1.0
    every: str = "step"
    power: float = 1.0
    period_epochs: int = 1
    milestones_epochs: tuple[int, ...] = ()
    warm_up_epochs: float = 0.0
    warm_up_factor: float = 1.0
    warm_up_shape: str = "linear"

    @classmethod
    def from_json(cls, value: float | Mapping[str, Any]) -> Schedule:
        """Build a schedule from a checked recipe value; a bare number is constant."""
        if not isinstance(value, Mapping):
            return cls(start=float(value))
        fields = dict(value)
        warm_up = fields.pop("warm_up", None) or {}
        fields |= {f"warm_up_{key}": part for key, part in warm_up.items()}
        if "milestones_epochs" in fields:
            fields["milestones_epochs"] = tuple(fields["milestones_epochs"])
        return cls(**fields)

    def at(self, progress: Progress) -> float:
        """Return the value that holds for the step which follows `progress`."""
        return self._plain(progress) * self._warm_up(progress)

    def _plain(self, progress: Progress) -> float:
        per_epoch = self.every == "epoch"
        done = progress.epoch if per_epoch else progress.step
        fraction = progress.epoch / progress.total_epochs if per_epoch else progress.fraction
        end = self.end or 0.0
        match self.kind:
            case "linear":
                return self.start + (end - self.start) * fraction
            case "cosine":
                return end + (self.start - end) * (1 + math.cos(math.pi * fraction)) / 2
            case "polynomial":
                return end + (self.start - end) * math.pow(1 - fraction, self.power)
            case "exponential":
                return self._bounded(self._after_drops(done), self.factor > 1)
            case "slope":
                return self._bounded(self.start + self.slope * done, self.slope > 0)
            case "step":
                return self._after_drops(progress.epoch // self.period_epochs)
            case "milestones":
                passed = sum(progress.epoch >= epoch for epoch in self.milestones_epochs)
                return self._after_drops(passed)
            case _:
                return self.start

    def _after_drops(self, count: int) -> float:
        try:
            return self.start * math.pow(self.factor, count)
        except OverflowError:
            return math.inf

    def _bounded(self, value: float, growing: bool) -> float:
        """Stop at `end`: it bounds a shrinking value below, a growing one above."""
        if self.end is None:
            return value
        return min(value, self.end) if growing else max(value, self.end)

    def _warm_up(self, progress: Progress) -> float:
        if progress.epochs_done >= self.warm_up_epochs:
            return 1.0
        if self.warm_up_shape == "constant":
            return self.warm_up_factor
        share = progress.epochs_done / self.warm_up_epochs
        return self.warm_up_factor + (1 - self.warm_up_factor) * share
