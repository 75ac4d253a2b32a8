"""Where a run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Position:
    """Where a run is: what a checkpoint holds beside the network and the optimizer.

    Args:
        epoch: The epoch under way.
        step: Steps of it that are done.
        sums: The tally of those steps.
        seconds: Seconds of training in it.
        best: The row of the best epoch so far.
        rows: Rows of metrics that hold.
    """

    epoch: int = 0
    step: int = 0
    sums: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    seconds: float = 0.0
    best: Mapping[str, Any] | None = None
    rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON."""
        return {**vars(self), "sums": list(self.sums)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        """Return the position of a checkpoint."""
        return cls(**{**value, "sums": tuple(value["sums"])})
