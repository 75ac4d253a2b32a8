"""Several processes of one run, forked as a launcher starts them, but with no launcher above them.

So it is under Slurm and mpirun: nobody ends the others where one is gone.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from forked import Child, Ended, start

Prepare = Callable[[], None]


def start_ranks(
    folder: Path, count: int, *arguments: str, prepares: dict[int, Prepare] | None = None
) -> list[Child]:
    """Start a command of qcli as ranks of one job.

    Args:
        folder: Where it runs.
        count: Of the processes.
        arguments: What follows `qcli`.
        prepares: By rank, what is called in it before the command.
    """
    port = free_port()

    def join_job(rank: int) -> Prepare:
        def prepare() -> None:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(count),
                LOCAL_WORLD_SIZE=str(count),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            if prepares and rank in prepares:
                prepares[rank]()

        return prepare

    return [start(folder, *arguments, prepare=join_job(rank)) for rank in range(count)]


def run_ranks(
    folder: Path, count: int, *arguments: str, prepares: dict[int, Prepare] | None = None
) -> list[Ended]:
    """Run a command of qcli as ranks of one job, to its end."""
    return wait_for(start_ranks(folder, count, *arguments, prepares=prepares))


def wait_for(children: Sequence[Child]) -> list[Ended]:
    """Wait for every rank."""
    return [child.wait() for child in children]


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_checkpoint(run: Path, child: Child, epoch: int = 0) -> None:
    """Wait until a run has a checkpoint of an epoch, or has ended."""
    pattern = f'"epoch": {epoch}'
    while not child.has_ended():
        for place in ("checkpoint", "checkpoint.old"):
            try:
                if pattern in (run / place / "position.json").read_text():
                    return
            except OSError:
                continue
        time.sleep(0.01)
