"""Where a new run goes: a folder that nothing is lost in."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

from qcli.errors import RunError, UsageError
from qcli.training.false_start import is_false_start


def default_run_path(architecture: str, dataset: str, recipe: str) -> Path:
    """Return runs/<UTC stamp>-<architecture>-<dataset>-<recipe>, with a number where it exists.

    Of a family's member that is a path, the folders are left out.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    family, colon, member = architecture.partition(":")
    network = f"{family}{colon}{member.rpartition('/')[2]}"
    name = f"{stamp}-{network}-{dataset}-{recipe}".replace(":", "_").replace("/", "_")
    path, number = Path("runs") / name, 2
    while path.exists():
        path, number = Path("runs") / f"{name}-{number}", number + 1
    return path


def require_new(path: Path) -> None:
    """Refuse a run directory that holds anything but a start that never came to training.

    Raises:
        UsageError: It exists and is not an empty folder, or cannot be one.
    """
    try:
        if not (path.exists() or path.is_symlink()) or is_false_start(path):
            return
        is_run = (path / "run.json").exists()
    except OSError as error:
        raise UsageError(f"{path} cannot be a run directory: {error.strerror}") from None
    go_on = f", or go on with it: qcli train --resume {path}" if is_run else ""
    raise UsageError(f"{path} exists and is never overwritten; choose another with -o{go_on}")


def claim(path: Path) -> Path:
    """Make a new folder, with a number behind its name where another process was faster.

    Raises:
        UsageError: It cannot be made.
        RunError: The disk is full.
    """
    chosen, number = path, 2
    while True:
        try:
            chosen.mkdir(parents=True)
            return chosen
        except FileExistsError:
            chosen, number = path.with_name(f"{path.name}-{number}"), number + 1
        except OSError as error:
            raise explain_unmade(path, error) from None


def explain_unmade(path: Path, error: OSError) -> UsageError | RunError:
    """Return what to raise for a folder that cannot be made: a full disk is no wrong command."""
    kind = RunError if error.errno in (errno.ENOSPC, errno.EDQUOT) else UsageError
    return kind(f"{path} cannot be made: {error.strerror}")
