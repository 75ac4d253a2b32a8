"""What a case is: the arms that take turns, what is compared, and what is wished; no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Quantity(StrEnum):
    """What a comparison tells.

    TIME_RATIO: seconds for an image, the arm's over the base's. SPEED_RATIO: images per second, the
    same way round. SECONDS and IMAGES_PER_SECOND: of the arm alone. EXTRA_BYTES: what the arm needs
    beyond the base, counted and not timed.
    """

    TIME_RATIO = "time_ratio"
    SPEED_RATIO = "speed_ratio"
    SECONDS = "seconds"
    IMAGES_PER_SECOND = "images_per_second"
    EXTRA_BYTES = "extra_bytes"

    @property
    def is_ratio(self) -> bool:
        """Whether it has no unit."""
        return self in (Quantity.TIME_RATIO, Quantity.SPEED_RATIO)


@dataclass(frozen=True)
class Goal:
    """A bound that a median should keep; one of the two is given."""

    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, value: float) -> bool:
        """Say whether a value keeps the bound."""
        if self.at_most is not None:
            return value <= self.at_most
        return self.at_least is not None and value >= self.at_least


@dataclass(frozen=True)
class Comparison:
    """What one row of the result tells.

    Args:
        arm: Which arm is judged.
        base: What it is compared with; None: with nothing.
        quantity: What the number is.
        goal: What is wished; None: it is for the record.
    """

    arm: str
    base: str | None
    quantity: Quantity
    goal: Goal | None = None


@dataclass(frozen=True)
class Arm:
    """One of the things that take turns.

    Args:
        unit: Does one unit of work. Where it returns a number, that is the reading; else the
            seconds that it took.
        images: Images in a unit; 0: it has none.
        settings: What was chosen for this machine, as it is typed after --set.
    """

    unit: Callable[[], float | None]
    images: int = 0
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scope:
    """What every case is given.

    Args:
        folder: Empty, of the case's own, and gone after it.
        data_root: Where data sets lie; None: random images of the same shape and number.
    """

    folder: Path
    data_root: Path | None = None


@dataclass(frozen=True)
class Case:
    """A case, as a record that imports nothing.

    Args:
        name: In kebab case.
        summary: What is compared, in one sentence.
        prepare: "module:function", called with the scope and the options; returns the arms by name.
        comparisons: The rows of its result.
        options: Keyword arguments of `prepare`.
        needs: What may be missing on a machine: words that `missing` knows.
        threads: CPU threads that the case is defined for; None: as the command line says.
        reads_images: Whether it takes the images of -p.
    """

    name: str
    summary: str
    prepare: str
    comparisons: tuple[Comparison, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    threads: int | None = None
    reads_images: bool = False

    @property
    def is_timed(self) -> bool:
        """Whether other work on the machine changes its numbers."""
        return any(each.quantity is not Quantity.EXTRA_BYTES for each in self.comparisons)

    def arms(self, scope: Scope) -> dict[str, Arm]:
        """Build the arms."""
        module, _, name = self.prepare.partition(":")
        found: dict[str, Arm] = getattr(importlib.import_module(module), name)(
            scope, **self.options
        )
        return found
