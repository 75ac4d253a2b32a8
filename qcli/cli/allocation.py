"""Keep the memory that a step frees for the next step: a setting of the whole process."""

from __future__ import annotations

import ctypes
import os

# Parameters of mallopt, as <malloc.h> numbers them.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_LARGEST = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Let glibc keep what tensors free; with another library, or settings of malloc, do nothing.

    By default tensors of more than 32 MB, and many smaller ones, come from the system and go back
    to it: a fault for each of their pages, at every step.
    """
    is_set = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    known = getattr(os, "confstr_names", {})
    if is_set or "CS_GNU_LIBC_VERSION" not in known or not os.confstr("CS_GNU_LIBC_VERSION"):
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _LARGEST)
