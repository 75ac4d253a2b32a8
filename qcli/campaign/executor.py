"""Who runs the commands of a campaign: this machine, or an engine that hands them to a cluster."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from qcli.errors import UsageError


class Task(Protocol):
    """A command on its way."""

    def done(self) -> bool:
        """Say whether it has ended."""

    def result(self) -> Any:
        """Wait for its end; returns its exit code, or raises what ended it."""


class Executor(Protocol):
    """Runs commands.

    `room` is how many it takes at once; None: it queues them itself.
    """

    room: int | None

    def submit(self, command: Sequence[str], log: Path) -> Task:
        """Run a command; what it prints goes to `log`."""

    def stop(self) -> None:
        """End what runs, with its checkpoints saved."""


class LocalExecutor:
    """Runs some commands at once on this machine.

    Args:
        jobs: How many.
    """

    def __init__(self, jobs: int) -> None:
        self.room: int | None = jobs
        self._pool = ThreadPoolExecutor(jobs)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def submit(self, command: Sequence[str], log: Path) -> Task:
        """Run a command."""
        task: Task = self._pool.submit(self._run, command, log)
        return task

    def _run(self, command: Sequence[str], log: Path) -> int:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            with self._lock:
                # A session of its own: Ctrl-C reaches it through `stop` alone, and once.
                process = subprocess.Popen(
                    command, stdout=output, stderr=output, start_new_session=True
                )
                self._running.add(process)
            code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def stop(self) -> None:
        """Let every run save its checkpoint and end."""
        with self._lock:
            for process in self._running:
                process.terminate()
        self._pool.shutdown(wait=True)


class SubmititExecutor:
    """Hands commands to submitit, which knows Slurm.

    Args:
        cluster: slurm, local or debug; None: what submitit finds.
        folder: Where submitit keeps its files.
        options: Parameters of `submitit.AutoExecutor.update_parameters`.

    Raises:
        UsageError: submitit is not installed, or refuses the options.
    """

    def __init__(self, cluster: str | None, folder: Path, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise UsageError(
                "--executor submitit needs submitit: pip install qcli[slurm]"
            ) from None
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster)
            self._executor.update_parameters(**{"timeout_min": 24 * 60, **options})
        except (NameError, RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"submitit: {error}") from None
        self.room: int | None = None
        self._tasks: list[Any] = []

    def submit(self, command: Sequence[str], log: Path) -> Task:
        """Queue a command."""
        log.parent.mkdir(parents=True, exist_ok=True)
        task: Task = self._executor.submit(run_logged, list(command), log)
        self._tasks.append(task)
        return task

    def stop(self) -> None:
        """Cancel what is queued or runs."""
        for task in self._tasks:
            if not task.done():
                task.cancel()


def run_logged(command: Sequence[str], log: Path) -> int:
    """Run a command to its end; called on the machine that the engine has chosen."""
    with log.open("ab") as output:
        return subprocess.run(command, stdout=output, stderr=output, check=False).returncode
