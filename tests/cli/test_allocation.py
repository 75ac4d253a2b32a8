"""Memory that tensors free stays with the process: no page of it is fetched again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, torch
from qcli.cli.allocation import keep_freed_memory
keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def make():
    return torch.ones(9_000_000)
# Some blocks come anew until their sizes have settled.
for _ in range(20):
    make()
before = faults()
for _ in range(40):
    make()
print(faults() - before)
"""


def count_faults(**environment: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS],
        env=plain | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries are left alone")
def test_freed_memory_is_kept_unless_the_user_sets_malloc() -> None:
    # A block may still come anew now and then, where the rest of the heap has moved.
    assert count_faults() < count_faults(MALLOC_MMAP_THRESHOLD_="33554432") / 4
