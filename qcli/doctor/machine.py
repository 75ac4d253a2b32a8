"""Memory, cores and the clock."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from qcli.catalog.entries import HealthFinding, HealthRequest

GIB = 1 << 30
MEMORY = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Nobody runs this version before it was written: 2026-01-01 UTC.
WRITTEN = 1_767_225_600
SKEW_SECONDS = 5.0


def check_memory(request: HealthRequest) -> Iterator[HealthFinding]:
    """Look at the memory that is free."""
    yield find_memory(MEMORY, CGROUP)


def find_memory(meminfo: Path, cgroup: Path) -> HealthFinding:
    """Say how much memory is free, and what a container's limit leaves of it."""
    try:
        lines = (line.split() for line in meminfo.read_text("ascii").splitlines())
        free = next(int(words[1]) << 10 for words in lines if words[0] == "MemAvailable:")
    except (OSError, ValueError, StopIteration, IndexError):
        return HealthFinding("note", "the system does not tell how much memory is free")
    told = ""
    try:
        limit = int((cgroup / "memory.max").read_text())
        left = limit - int((cgroup / "memory.current").read_text()) + _read_cache(cgroup)
        if left < free:
            free, told = left, " within the limit of this container"
    except (OSError, ValueError):
        pass
    text = f"{free / GIB:.1f} GiB of memory free{told}"
    if free < 2 * GIB:
        return HealthFinding("warning", text, "qcli train --set batch_size=32 ...")
    return HealthFinding("ok", text)


def _read_cache(cgroup: Path) -> int:
    """Return how many bytes of a container are cached files, which give way; 0 where untold."""
    try:
        lines = (line.split() for line in (cgroup / "memory.stat").read_text("ascii").splitlines())
        return next(int(words[1]) for words in lines if words[0] == "inactive_file")
    except (OSError, ValueError, StopIteration, IndexError):
        return 0


def check_threads(request: HealthRequest) -> Iterator[HealthFinding]:
    """Compare the cores with what the environment and the container allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield from find_threads(cores or 1, read_quota(CGROUP), os.environ)


def read_quota(cgroup: Path) -> float | None:
    """Return how many cores' time a container may use; None: all."""
    try:
        quota, period = (cgroup / "cpu.max").read_text("ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def find_threads(
    cores: int, quota: float | None, environment: Mapping[str, str]
) -> Iterator[HealthFinding]:
    """Say where threads would be more than cores, or none."""
    count = 0
    for name in THREADS:
        value = environment.get(name)
        if value is None:
            continue
        if not value.isdecimal() or not 1 <= int(value) <= cores:
            count += 1
            told = f"{name} is {value!r}; this process may use {cores} cores"
            yield HealthFinding("warning", told, f"unset {name}")
    if quota is not None and quota < cores - 0.5:
        count += 1
        told = f"{cores} cores, but the container may use the time of {quota:g}: threads wait"
        yield HealthFinding("warning", told, f"qcli train --threads {max(1, int(quota))} ...")
    if not count:
        threads = environment.get("OMP_NUM_THREADS")
        limited = f", OMP_NUM_THREADS {threads}" if threads else ""
        yield HealthFinding("ok", f"{cores} cores{limited}")


def check_clock(request: HealthRequest) -> Iterator[HealthFinding]:
    """Compare the clock with the date of this version, and with the file system's."""
    try:
        with tempfile.TemporaryFile(dir=Path()) as file:
            written = os.fstat(file.fileno()).st_mtime
    except OSError:
        # What cannot be written here is told by the check of the disk.
        written = time.time()
    yield find_clock(time.time(), written)


def find_clock(now: float, written: float) -> HealthFinding:
    """Say whether a clock can be right.

    Args:
        now: What it says.
        written: What the file system says of a file that was made then.
    """
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < WRITTEN:
        told = f"the clock says {shown}, before this qcli was written: certificates fail"
        return HealthFinding("error", told, "sudo timedatectl set-ntp true")
    if abs(now - written) > SKEW_SECONDS:
        told = f"the file system is {written - now:+.0f} s from the clock, {shown}"
        return HealthFinding("warning", told, "sudo timedatectl set-ntp true")
    return HealthFinding("ok", shown)
