"""The process that writes a run, and whether it still lives: seen without touching its lock.

Whoever tries a lock to see whether it is free holds it for a moment, and a run that starts in that
moment is refused. Here nothing is taken: a process is looked up by its number and by when it began.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
LARGEST_ID = 1 << 31
# A process that has ended and that its parent has not asked after yet.
ENDED = ("Z", "X")


@dataclass(frozen=True)
class Owner:
    """A process, told apart from all others: its number alone is given again, and elsewhere too.

    Args:
        id: Its number.
        host: The machine's name.
        boot: What tells this start of the machine from others; None where the system has none.
        namespace: The numbers' space, as containers have their own; None where there is none.
        started: When it began, in the system's words; None where it cannot be known.
    """

    id: int
    host: str
    boot: str | None
    namespace: str | None
    started: str | None

    @classmethod
    def this_process(cls) -> Owner:
        """Return the process that asks."""
        return cls(os.getpid(), platform.node(), _boot(), _namespace(), _started(os.getpid()))

    @classmethod
    def from_json(cls, value: Any) -> Owner | None:
        """Return the process that run.json names; None where it names none."""
        if not isinstance(value, Mapping) or set(value) != set(cls.__dataclass_fields__):
            return None
        texts = [value[name] for name in ("boot", "namespace", "started")]
        known = all(isinstance(text, str | None) for text in texts)
        is_id = type(value["id"]) is int and 0 < value["id"] < LARGEST_ID
        return cls(**value) if known and is_id and isinstance(value["host"], str) else None

    def to_json(self) -> dict[str, Any]:
        """Return the process as JSON."""
        return asdict(self)

    def is_alive(self) -> bool | None:
        """Say whether it still runs; None where that cannot be seen from here."""
        if self.host != platform.node() or self.started is None:
            return None
        if self.boot != _boot():
            # The same machine was started anew: nothing from before lives.
            return False
        if self.namespace != _namespace():
            return None
        if _exists(self.id) is False:
            return False
        now = _started(self.id)
        return None if now is None else now == self.started


def _exists(number: int) -> bool | None:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return None
    return True


def _boot() -> str | None:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _namespace() -> str | None:
    try:
        return (PROC / "self/ns/pid").readlink().name
    except OSError:
        return None


def _started(number: int) -> str | None:
    """Return when a process began: clock ticks since the boot, or the time that `ps` prints."""
    if _boot() is None:
        return _started_by_ps(number)
    try:
        stat = (PROC / str(number) / "stat").read_text()
    except OSError:
        return None
    # The name of the program, in brackets, may hold anything.
    fields = stat.rpartition(")")[2].split()
    return "ended" if fields[0] in ENDED else fields[19]


def _started_by_ps(number: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(number)]
    # Who looks on may live in another language and another time zone than who trains.
    plain = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, env=plain
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
