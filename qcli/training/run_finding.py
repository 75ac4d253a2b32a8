"""Where runs lie: in a folder, in the folders of campaigns in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from qcli.errors import UsageError
from qcli.training.run_inspection import read_overview
from qcli.training.run_overview import STATES, RunOverview

# runs/compare/ID/seed0 is the deepest that qcli makes.
MOST_FOLDERS_BELOW = 3
# Files of a run that are there only after its run.json.
LATER_FILES = ("result.json", "metrics.jsonl", "checkpoint")


def is_run(path: Path) -> bool:
    """Say whether a folder is a run, be it a damaged one."""
    if (path / "run.json").is_file():
        return True
    return (path / "training.json").exists() and any((path / name).exists() for name in LATER_FILES)


def find_runs(path: Path, depth: int = MOST_FOLDERS_BELOW) -> Iterator[Path]:
    """Yield the run directories at or below a path, by name; what cannot be read is passed over.

    Raises:
        UsageError: The path is no folder.
    """
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {what}, allowed: a run directory, or a folder that holds some")
    yield from _walk(path, depth)


def _walk(path: Path, depth: int) -> Iterator[Path]:
    try:
        if is_run(path):
            yield path
            return
        inside = sorted(path.iterdir()) if depth else []
        folders = [each for each in inside if each.name[0] != "." and each.is_dir()]
    except OSError:
        return
    for each in folders:
        yield from _walk(each, depth - 1)


def read_runs(paths: Iterable[Path]) -> list[RunOverview]:
    """Read all runs at or below some paths: live ones first, then the newest."""
    found = {path.resolve(): path for each in paths for path in find_runs(each)}
    runs = [read_overview(path) for path in found.values()]
    return sorted(runs, key=_age)


def _age(run: RunOverview) -> tuple[bool, float, str]:
    started = run.started.timestamp() if run.started else 0.0
    return (not run.is_live, -started, str(run.path))


def can_go_on(run: RunOverview) -> bool:
    """Say whether a run has stopped and has a checkpoint from which it goes on."""
    stopped = run.state in ("interrupted", "died", "failed")
    return stopped and any(run.path.glob("checkpoint*/position.json"))


def select_states(runs: Iterable[RunOverview], states: Iterable[str]) -> list[RunOverview]:
    """Return the runs in one of some states; all where none is named."""
    wanted = set(states) or set(STATES)
    return [run for run in runs if run.state in wanted]
