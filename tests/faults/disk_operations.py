"""Every operation by which a process changes files below a folder, heard before it is done.

Python's audit hooks tell what Python does. What safetensors and torch write in native code is heard
where it begins: a case inside such a write needs a limit of the kernel, or a disk that is full.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Called with the number of the operation, from 1, and what it is.
Heard = Callable[[int, str], None]

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.link"}
WRITES = os.O_WRONLY | os.O_RDWR


class DiskOperations:
    """Numbers the operations; once begun in a process it cannot be ended.

    Args:
        folder: What happens elsewhere is not heard.
        heard: May raise an OSError in place of the operation, or kill the process.
    """

    def __init__(self, folder: Path, heard: Heard) -> None:
        self.folder = str(folder.resolve())
        self.heard = heard
        self.count = 0

    def begin(self) -> None:
        """Hear from now on."""
        sys.addaudithook(self._audit)
        self._hear_calls_of(os, "fsync", lambda *args: f"/proc/self/fd/{args[0]}")
        import safetensors.torch
        import torch

        self._hear_calls_of(safetensors.torch, "serialize_file", lambda *args: args[1])
        self._hear_calls_of(torch, "save", lambda *args: args[1])

    def _hear_calls_of(self, owner: Any, name: str, path_of: Callable[..., Any]) -> None:
        call = getattr(owner, name)

        def heard(*args: Any, **options: Any) -> Any:
            self._hear(name, os.path.realpath(path_of(*args)))
            return call(*args, **options)

        setattr(owner, name, heard)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            if isinstance(args[2], int) and args[2] & WRITES:
                self._hear(event, args[0])
        elif event in CHANGES:
            # shutil.rmtree names files within a folder that it holds open.
            held = event != "os.rename" and isinstance(args[-1], int) and args[-1] >= 0
            is_mode = event in ("os.chmod", "os.mkdir")
            self._hear(event, args[0], is_below=held and not is_mode)

    def _hear(self, operation: str, path: Any, *, is_below: bool = False) -> None:
        place = os.path.abspath(os.fsdecode(path))
        if is_below or place.startswith(self.folder + os.sep) or place == self.folder:
            self.count += 1
            self.heard(self.count, f"{operation} {os.path.relpath(place, self.folder)}")
