"""Look at runs again and again until none is under way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from qcli.errors import UsageError
from qcli.training.run_finding import is_run, read_runs
from qcli.training.run_inspection import read_overview
from qcli.training.run_overview import RunOverview

SECONDS_BETWEEN_LOOKS = 1.0


def choose_watched(path: Path) -> list[Path]:
    """Return a run itself, or the runs below a folder that are under way.

    Raises:
        UsageError: The path is no folder, or no run below it is under way.
    """
    if is_run(path):
        return [path]
    live = [run.path for run in read_runs([path]) if run.state == "running"]
    if not live:
        raise UsageError(f"no run below {path} is under way; list them: qcli runs {path}")
    return live


def follow(
    paths: Sequence[Path], pause: float = SECONDS_BETWEEN_LOOKS
) -> Iterator[list[RunOverview]]:
    """Yield the state of some runs, every second, and at last when none is under way any more."""
    while True:
        runs = [read_overview(path, with_rows=True) for path in paths]
        yield runs
        if not any(run.is_live for run in runs):
            return
        time.sleep(pause)
