"""What a run leaves that was stopped before its first checkpoint: nothing that training made."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from qcli.errors import RunError

LOCK = ".lock"
# What a run writes before its first checkpoint, each beside its place first.
WRITTEN = ("training.json", "quantization.json", "plan.json", "run.json", "log.txt")
LEFT = {LOCK, *WRITTEN, *(f".{name}.new" for name in WRITTEN), "checkpoint.new", ".shared"}


def is_false_start(path: Path) -> bool:
    """Say whether a folder holds what a run leaves before its first checkpoint, and only that."""
    if path.is_symlink() or not path.is_dir():
        return False
    left = {each.name for each in path.iterdir()}
    if any((path / name).is_symlink() for name in left):
        return False
    # The folder is made before its lock.
    return left <= LEFT and (not left or LOCK in left)


def clear_false_start(path: Path) -> None:
    """Remove what a false start left, but for its lock."""
    for each in path.iterdir():
        if each.name == "checkpoint.new":
            shutil.rmtree(each)
        elif each.name != LOCK:
            each.unlink()


def require_begun(path: Path) -> None:
    """Refuse to go on with a run that was stopped before its first checkpoint.

    Raises:
        RunError: It was, or it starts right now.
    """
    if not is_false_start(path):
        return
    if _is_locked(path):
        raise RunError(f"{path} is in use by another process, which starts it")
    raise RunError(
        f"{path} was stopped before training began, so that there is nothing to go on with; give "
        "the command that started it again"
    )


def _is_locked(path: Path) -> bool:
    if not (path / LOCK).exists():
        return False
    try:
        with FileLock(path / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False
