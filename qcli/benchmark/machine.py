"""The machine that is measured, and whether other work keeps it busy."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qcli.errors import RunError

MEASURED_PACKAGES = ("qcli", "torch", "torchvision", "accelerate")


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_load() -> float | None:
    """Return the 1-minute load average; None where the system keeps none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def require_idle(load: float | None, cores: int) -> None:
    """Refuse to measure beside other work.

    Raises:
        RunError: The load is more than half the cores.
    """
    if is_busy(load, cores):
        raise RunError(
            f"the 1-minute load average is {load:.2f} on {cores} cores, more than {cores / 2:g}: "
            "other work would be measured too; wait a minute after it has ended, or give --busy "
            "for numbers without a verdict"
        )


def is_busy(load: float | None, cores: int) -> bool:
    """Say whether so much else goes on that times mean nothing."""
    return load is not None and load > cores / 2


@cache
def _processor_fields() -> dict[str, str]:
    """Return what Linux says of the first processor; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def has_bfloat16() -> bool:
    """Say whether the processor multiplies bfloat16 by itself."""
    flags = _processor_fields().get("flags", "").split()
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def describe_machine(load: float | None) -> dict[str, Any]:
    """Return what a measured number rests on, as JSON.

    Args:
        load: The 1-minute load average before the first case.
    """
    import torch

    name = _processor_fields().get("model name") or platform.processor() or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": name,
        "cores": count_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory_bytes(),
        "device": device,
        "load": load,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in MEASURED_PACKAGES},
        },
    }
