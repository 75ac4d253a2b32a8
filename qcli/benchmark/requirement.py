"""What a case may miss on a machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping

from qcli.benchmark.case import Case
from qcli.benchmark.cases import BREVITAS, COMPILER, CUDA


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def has_compiler() -> bool:
    """Say whether there is the C++ compiler that torch.compile calls on a CPU."""
    standard = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", standard)) is not None


def _has_brevitas() -> bool:
    return importlib.util.find_spec("brevitas") is not None


PRESENT: Mapping[str, Callable[[], bool]] = {
    BREVITAS: _has_brevitas,
    COMPILER: has_compiler,
    CUDA: _has_cuda,
}


def missing(case: Case) -> str | None:
    """Return the first of a case's needs that the machine has not; None: it can run."""
    return next((need for need in case.needs if not PRESENT[need]()), None)
