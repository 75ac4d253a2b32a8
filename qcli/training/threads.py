"""How many threads of the CPU a step takes, where --threads leaves it to a measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from qcli.training.rehearsal import Rehearsal

Note = Callable[[str], None]


def fastest(seconds: Mapping[int, float]) -> int:
    """Return the number of threads with the shortest step; of equal ones, the fewest."""
    return min(sorted(seconds), key=lambda count: seconds[count])


def choose_threads(rehearsal: Rehearsal, note: Note) -> None:
    """Let torch compute with one thread or with its own choice, whichever is faster here.

    Where another program keeps a core busy, several threads wait for each other at every
    operation, and a step takes many times as long as with one.

    Args:
        rehearsal: Of the run.
        note: Hears what was measured and chosen.
    """
    device = rehearsal.workload.accelerator.device
    if device.type != "cpu":
        note(f"--threads auto has no effect: the network is on {device}")
        return
    (most,) = (int(each) for each in rehearsal.slowest(torch.get_num_threads()))
    if most == 1:
        note("--threads auto: 1; torch would take no more")
        return

    def step(count: int) -> float:
        torch.set_num_threads(count)
        return rehearsal.step(rehearsal.network)

    (round_seconds,) = rehearsal.slowest(step(1) + step(most))
    seconds = rehearsal.compare({1: lambda: step(1), most: lambda: step(most)}, round_seconds)
    chosen = fastest(seconds)
    torch.set_num_threads(chosen)
    note(
        f"--threads auto: {chosen}; a step takes {1e3 * seconds[1]:.3g} ms with 1 thread and "
        f"{1e3 * seconds[most]:.3g} ms with {most}"
    )
