"""What the health watch tells of one slot of one layer: its numbers so far, and what is sick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qcli.quantization.health import Numbers

# Quarters of shorter runs have one epoch: everything moves in it.
FEWEST_EPOCHS = 8


@dataclass(frozen=True)
class Finding:
    """Something sick.

    Args:
        kind: What it is, in a word or two.
        layer: Dotted name of the module.
        slot: "weight", "input" or "output".
        value: The number that was measured.
        limit: The number that it has passed.
        text: The sentence for people: layer, slot, number, limit, and what to try.
    """

    kind: str
    layer: str
    slot: str
    value: float
    limit: float
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What is said once."""
        return self.kind, self.layer, self.slot


@dataclass(frozen=True)
class History:
    """The numbers of one slot.

    Args:
        layer: Dotted name of the module.
        slot: "weight", "input" or "output".
        epochs: The numbers after each epoch so far; empty where there were none.
        total_epochs: Of the run.
    """

    layer: str
    slot: str
    epochs: Sequence[Numbers]
    total_epochs: int

    @property
    def last(self) -> Numbers:
        """The numbers after the last epoch."""
        return self.epochs[-1]

    @property
    def quarter(self) -> int:
        """Epochs in a quarter of the run; 0 where the run is too short to judge its course."""
        return self.total_epochs // 4 if self.total_epochs >= FEWEST_EPOCHS else 0

    @property
    def is_in_last_quarter(self) -> bool:
        """Whether the last epoch lies in the last quarter of a run."""
        return self.total_epochs - len(self.epochs) < self.quarter

    def find(self, kind: str, value: float, limit: float, text: str) -> Finding:
        """Return a finding; the text is what stands behind layer and slot."""
        sentence = f"layer {self.layer}, {self.slot}: {text}"
        return Finding(kind, self.layer, self.slot, value, limit, sentence)
