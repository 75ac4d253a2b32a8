"""The GPU, its driver, and the CUDA that torch is built for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qcli.catalog.entries import HealthFinding, HealthRequest
from qcli.doctor.torch_pair import REMEDY

DRIVER = Path("/proc/driver/nvidia")


def check_cuda(request: HealthRequest) -> Iterator[HealthFinding]:
    """Compare driver and torch, and let every GPU compute."""
    try:
        import torch
    except Exception as error:
        told = f"torch cannot be imported ({type(error).__name__}): nothing is known of GPUs"
        yield HealthFinding("note", told, "qcli doctor torch")
        return
    yield from find_cuda(torch, read_driver(DRIVER), count_gpus(DRIVER))


def read_driver(folder: Path) -> str | None:
    """Return the version of NVIDIA's kernel driver; None where there is none."""
    try:
        text = (folder / "version").read_text("utf-8", "replace")
    except OSError:
        return None
    match = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return match[1] if match else "of an unknown version"


def count_gpus(folder: Path = DRIVER) -> int:
    """Return how many of NVIDIA's GPUs the driver knows, whatever torch can use."""
    try:
        return len(list((folder / "gpus").iterdir()))
    except OSError:
        return 0


def find_cuda(torch: Any, driver: str | None, gpus: int) -> Iterator[HealthFinding]:
    """Say what a torch can do with a driver.

    Args:
        torch: The package.
        driver: Of the kernel; None: there is none.
        gpus: How many it knows.
    """
    built, usable = torch.version.cuda, torch.cuda.is_available()
    if usable:
        yield from _find_devices(torch, driver)
    elif built is None and driver is None:
        yield HealthFinding("ok", "no GPU of NVIDIA, and torch is built without CUDA: on the CPU")
    elif built is None:
        told = f"a driver {driver} with {gpus} GPUs, but torch {torch.__version__} has no CUDA"
        yield HealthFinding("warning", told, REMEDY)
    elif driver is None:
        yield HealthFinding("ok", f"no driver of NVIDIA: torch, for CUDA {built}, uses the CPU")
    else:
        told = f"driver {driver} with {gpus} GPUs cannot be used by torch, for CUDA {built}"
        reason = _ask(torch)
        yield HealthFinding("error", f"{told}: {reason}", "nvidia-smi")


def _ask(torch: Any) -> str:
    """Return why CUDA does not start."""
    try:
        torch.zeros(1, device="cuda")
    except Exception as error:
        return " ".join(str(error).split())[:300]
    return "torch says that none is available; is CUDA_VISIBLE_DEVICES empty?"


def _find_devices(torch: Any, driver: str | None) -> Iterator[HealthFinding]:
    for index in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(index)
        told = f"GPU {index}: {name}, driver {driver or 'unknown'}, CUDA {torch.version.cuda}"
        try:
            ones = torch.ones(16, 16, device=f"cuda:{index}")
            wrong = float((ones @ ones).sum()) != 16**3
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            yield HealthFinding("error", f"{told}: does not compute: {reason}", REMEDY)
            continue
        if wrong:
            yield HealthFinding("error", f"{told}: computes wrongly", "nvidia-smi")
        else:
            yield HealthFinding("ok", f"{told}: computes")
