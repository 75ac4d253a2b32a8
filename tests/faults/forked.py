"""The command line of qcli in a forked child, so that torch is imported once for all cases."""

import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
LONGEST_SECONDS = 300.0
HUNG = 124
IMPORTED = (
    "accelerate",
    "sklearn.datasets",
    "torchvision",
    "qcli.cli.train_verb",
    "qcli.training.session",
)


@dataclass
class Child:
    """A command under way.

    Args:
        pid: Its process id.
        log: The file that gets what it prints.
    """

    pid: int
    log: Path
    code: int | None = None
    said: str = ""

    def has_ended(self) -> bool:
        """Say whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def kill(self) -> None:
        """Kill it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = LONGEST_SECONDS) -> "Ended":
        """Wait for its end; a child that hangs is killed, and told as exit code 124."""
        end = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < end:
            time.sleep(0.005)
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.code = HUNG
        output = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        self.log.unlink(missing_ok=True)
        self.said = self.said or output
        return Ended(self.code, self.said)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: The exit code, or minus the signal that killed it.
        output: What it printed on both streams.
    """

    code: int
    output: str

    @property
    def has_traceback(self) -> bool:
        """Whether Python, and not qcli, told what went wrong."""
        return "Traceback (most recent call last)" in self.output or "fault of qcli" in self.output


def import_qcli() -> None:
    """Import what every child needs, before the first is forked."""
    for name in IMPORTED:
        importlib.import_module(name)
    from qcli.catalog.load import load_catalog

    load_catalog()


def start(folder: Path, *arguments: str, prepare: Callable[[], None] | None = None) -> Child:
    """Start a command of qcli.

    Args:
        folder: Where it runs.
        arguments: What follows `qcli`.
        prepare: Called in the child before the command.
    """
    # Not in the folder: its disk may be full.
    descriptor, name = tempfile.mkstemp(suffix=".txt")
    os.close(descriptor)
    log = Path(name)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, log)
    code = 70
    try:
        code = _in_child(folder, log, arguments, prepare)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _in_child(
    folder: Path, log: Path, arguments: tuple[str, ...], prepare: Callable[[], None] | None
) -> int:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = ["qcli", *arguments]
    from qcli.cli import main

    if prepare:
        prepare()
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        return int(end.code or 0)


def run(folder: Path, *arguments: str, prepare: Callable[[], None] | None = None) -> Ended:
    """Run a command of qcli to its end."""
    return start(folder, *arguments, prepare=prepare).wait()
