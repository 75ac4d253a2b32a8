"""Arms take turns, so that what slows the machine down slows all of them down."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from qcli.benchmark.case import Arm

WARM_UP_UNITS = 3
LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    Args:
        rounds: The most rounds.
        seconds: After these no round begins, but LEAST_ROUNDS are measured in any case, or all
            `rounds` where they are fewer.
    """

    rounds: int = 30
    seconds: float = 40.0


def take_turns(arms: Mapping[str, Arm], pace: Pace) -> dict[str, list[float]]:
    """Measure arms A B C A B C ..., after a warm-up of each.

    Returns:
        Each arm's readings, one for each round: seconds, or what its unit returned.
    """
    for arm in arms.values():
        for _ in range(WARM_UP_UNITS):
            arm.unit()
    readings: dict[str, list[float]] = {name: [] for name in arms}
    began = time.monotonic()
    for number in range(pace.rounds):
        if number >= LEAST_ROUNDS and time.monotonic() - began > pace.seconds:
            break
        read_once(arms, readings)
    return readings


def read_once(arms: Mapping[str, Arm], readings: Mapping[str, list[float]]) -> None:
    """Let each arm do a unit, and append what it came to."""
    for name, arm in arms.items():
        began = time.perf_counter()
        value = arm.unit()
        readings[name].append(time.perf_counter() - began if value is None else value)
