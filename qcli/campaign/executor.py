"""Who runs the commands of a campaign: this machine, or an engine that hands them to a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Protocol

from qcli.errors import RunError, UsageError
from qcli.training.durable import open_to_append


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
        devices: Names of GPUs, as CUDA_VISIBLE_DEVICES takes them; commands share them in turn.
            Empty: commands see what this process sees.
    """

    def __init__(self, jobs: int, devices: Sequence[str] = ()) -> None:
        self.room: int | None = jobs
        self._pool = ThreadPoolExecutor(jobs)
        self._places: SimpleQueue[dict[str, str]] = SimpleQueue()
        for number in range(jobs):
            place = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
            self._places.put(place)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def submit(self, command: Sequence[str], log: Path) -> Task:
        """Run a command."""
        task: Task = self._pool.submit(self._run, command, log)
        return task

    def _run(self, command: Sequence[str], log: Path) -> int:
        log.parent.mkdir(parents=True, exist_ok=True)
        place = self._places.get()
        try:
            with open_to_append(log) as output:
                process = self._start(command, output, place)
                return process.wait() if process else 1
        finally:
            self._places.put(place)

    def _start(
        self, command: Sequence[str], output: IO[bytes], place: Mapping[str, str]
    ) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopped:
                return None
            # A session of its own: Ctrl-C reaches it through `stop` alone, and once.
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **place},
            )
            self._running.add(process)
        return process

    def stop(self) -> None:
        """Let every run save its checkpoint and end."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                # One that has ended is left alone.
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)


class SubmititExecutor:
    """Hands commands to submitit, which knows Slurm.

    Args:
        cluster: slurm, local or debug; None: what submitit finds.
        folder: Where submitit keeps its files.
        jobs: How many it is handed at once; None: all that can run.
        options: Parameters of `submitit.AutoExecutor.update_parameters`.

    Raises:
        UsageError: submitit is not installed, or refuses the options.
    """

    def __init__(
        self, cluster: str | None, folder: Path, jobs: int | None, options: Mapping[str, Any]
    ) -> None:
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
        self.room: int | None = jobs
        self._tasks: list[Any] = []

    def submit(self, command: Sequence[str], log: Path) -> Task:
        """Queue a command.

        Raises:
            RunError: The engine takes no more.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            task: Task = self._executor.submit(run_logged, list(command), log)
        except Exception as error:
            # What an engine raises is its own: a command that failed, a full queue.
            raise RunError(f"submitit: {error}") from error
        self._tasks.append(task)
        return task

    def stop(self) -> None:
        """Cancel what is queued or runs."""
        for task in self._tasks:
            if not task.done():
                task.cancel()


def run_logged(command: Sequence[str], log: Path) -> int:
    """Run a command to its end; called on the machine that the engine has chosen.

    What the engine sends before it takes the machine away reaches the command as SIGTERM, at which
    a run saves its checkpoint.
    """
    with open_to_append(log) as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, lambda *_: process.terminate())
        return process.wait()
