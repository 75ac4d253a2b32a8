"""Room and rights for runs, temporary files, and what worker processes hand over."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from qcli.catalog.entries import HealthFinding, HealthRequest

GIB = 1 << 30
SHARED = Path("/dev/shm")


def check_disk(request: HealthRequest) -> Iterator[HealthFinding]:
    """Write a file where runs go, and one where temporary files go."""
    runs = Path("runs") if Path("runs").is_dir() else Path()
    yield find_folder(runs, "runs", "cd DIR, or qcli train -o DIR/RUN, with a folder of yours")
    try:
        temporary = Path(tempfile.gettempdir())
    except OSError as error:
        told = f"no folder for temporary files: {error.strerror or error}"
        yield HealthFinding("error", told, 'export TMPDIR="$HOME/tmp"; mkdir -p "$TMPDIR"')
        return
    remedy = 'mkdir -p "$HOME/tmp"; export TMPDIR="$HOME/tmp"'
    yield find_folder(temporary, "temporary files", remedy)


def find_folder(folder: Path, purpose: str, remedy: str) -> HealthFinding:
    """Write a file into a folder, and say how much room there is."""
    place = folder.resolve()
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"qcli doctor")
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(place).free
    except OSError as error:
        told = f"{place}, for {purpose}, cannot be written to: {error.strerror or error}"
        return HealthFinding("error", told, remedy)
    told = f"{place}, for {purpose}: {free / GIB:.1f} GiB free"
    if free < 2 * GIB:
        severity = HealthFinding("error" if free < GIB // 10 else "warning", told)
        return HealthFinding(severity.severity, told, f"du -sh {shlex.quote(str(place))}/*")
    return HealthFinding("ok", told)


def check_shared_memory(request: HealthRequest) -> Iterator[HealthFinding]:
    """Look at the shared memory of the system."""
    yield find_shared_memory(SHARED)


def find_shared_memory(folder: Path) -> HealthFinding:
    """Say whether worker processes can hand batches over through a folder in memory."""
    if not folder.is_dir():
        return HealthFinding("ok", f"no {folder}: workers use temporary files")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"qcli doctor")
        usage = shutil.disk_usage(folder)
    except OSError as error:
        told = f"{folder} cannot be written to ({error.strerror}): streamed data sets fail"
        return HealthFinding("warning", told, "qcli train --set workers=0 ...")
    told = f"{folder}: {usage.free / GIB:.2f} GiB free of {usage.total / GIB:.2f}"
    if usage.free < GIB // 2:
        told += "; worker processes that hand over batches of photographs need more"
        return HealthFinding("warning", told, f"sudo mount -o remount,size=8G {folder}")
    return HealthFinding("ok", told)
