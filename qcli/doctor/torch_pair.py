"""torch against torchvision: what their versions say, and whether they work together.

torchvision calls torch's C++ by its binary interface, so that one version of it fits one of torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from qcli.catalog.entries import HealthFinding, HealthRequest
from qcli.doctor.packages import installed, numbers

REMEDY = "pip install --upgrade --force-reinstall torch torchvision"
# torchvision 0.15 came with torch 2.0, and both count on together since.
_AHEAD = 15


def check_torch(request: HealthRequest) -> Iterator[HealthFinding]:
    """Compare the versions, then import both and let each compute."""
    versions = {name: installed(name) for name in ("torch", "torchvision")}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        yield HealthFinding("error", f"{' and '.join(missing)} not installed", REMEDY)
        return
    told = f"torch {versions['torch']} with torchvision {versions['torchvision']}"
    if problem := _try():
        yield HealthFinding("error", f"{told}: {problem}", REMEDY)
    elif doubt := compare(str(versions["torch"]), str(versions["torchvision"])):
        yield HealthFinding("warning", f"{told}: {doubt}", REMEDY)
    else:
        yield HealthFinding("ok", f"{told}: both compute")


def compare(torch: str, torchvision: str) -> str:
    """Return why two versions do not belong together; '' where they do, as far as is known."""
    ours, theirs = numbers(torch), numbers(torchvision)
    builds = [version.partition("+")[2] for version in (torch, torchvision)]
    if all(builds) and builds[0] != builds[1]:
        return f"built for {builds[0]} and {builds[1]}: install both from one index"
    if ours[:1] != (2,) or theirs[:1] != (0,) or len(ours) < 2 or len(theirs) < 2:
        return ""
    if theirs[1] - ours[1] != _AHEAD:
        return f"torch 2.{ours[1]} goes with torchvision 0.{ours[1] + _AHEAD}"
    return ""


def _try() -> str:
    """Import both and let each compute; return what went wrong."""
    try:
        import torch

        if float(torch.ones(2, 2).mm(torch.ones(2, 1)).sum()) != 4:
            return "torch multiplies wrongly"
    except Exception as error:
        return f"torch cannot be used: {_tell(error)}"
    try:
        from torchvision.ops import nms

        kept = nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([0.5, 0.9]), 0.5)
        if kept.tolist() != [1]:
            return "torchvision's operators compute wrongly"
    except Exception as error:
        return f"torchvision does not work with it: {_tell(error)}"
    return ""


def _tell(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
