"""Let one of two processes of a run die, fail, hang or hear a signal; go on, and compare.

    python tests/faults/dead_rank.py --count 20

No launcher ends the survivor: it must stop by itself, in bounded time, and say why.
"""

import argparse
import errno
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from disk_operations import DiskOperations
from forked import Child, import_qcli
from ranks import Prepare, run_ranks, start_ranks, wait_for_checkpoint
from small_run import difference, facts_of, write_recipe
from tally import Tally

# What a busy machine takes to tell that a peer is gone, beside the patience that is asked for.
BOUND_SECONDS = 300.0
PATIENCE_MINUTES = 0.25
TELLS = ("another process", "cannot be written", "stopped by signal")


def die_at(folder: Path, wanted: int) -> Prepare:
    """Kill the process before one of its operations on the disk."""

    def heard(number: int, _: str) -> None:
        if number == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return DiskOperations(folder / "run", heard).begin


def full_for_states(folder: Path) -> Prepare:
    """Refuse room for what this rank alone writes into a checkpoint, but for the first one."""
    seen = []

    def heard(_: int, what: str) -> None:
        if what.startswith("serialize_file") and "/random_" in what:
            seen.append(what)
            if len(seen) > 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)

    return DiskOperations(folder / "run", heard).begin


def fail_at_step(wanted: int) -> Prepare:
    """Raise after a step of the run."""

    def prepare() -> None:
        from qcli.errors import RunError
        from qcli.training.learner import Learner

        step, steps = Learner.step, []

        def failing(*args: object) -> None:
            step(*args)  # type: ignore[arg-type]
            steps.append(None)
            if len(steps) == wanted:
                raise RunError("made to fail here")

        Learner.step = failing  # type: ignore[method-assign,assignment]

    return prepare


class Ranks:
    """Runs the cases.

    Args:
        folder: For all files.
        seed: Of the choices.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.tally = Tally("dead_rank")
        self.command = (*write_recipe(folder), "--patience", str(PATIENCE_MINUTES))
        self.resume = ("train", "--cpu", "--resume", "run")
        self.run = folder / "run"
        begun = time.monotonic()
        told = run_ranks(folder, 2, *self.command, "-o", "whole")
        self.seconds = time.monotonic() - begun
        assert [each.code for each in told] == [0, 0], told
        self.whole = facts_of(folder / "whole")

    def start(self, prepares: dict[int, Prepare] | None = None) -> list[Child]:
        """Start the run."""
        return start_ranks(self.folder, 2, *self.command, "-o", "run", prepares=prepares)

    def end(self, label: str, children: list[Child], victim: int, codes: set[int]) -> None:
        """Wait for both, judge how the survivor ended, go on and compare."""
        died = children[victim].wait(BOUND_SECONDS)
        survivor = children[1 - victim].wait(BOUND_SECONDS)
        faults = [] if died.code in codes else [f"the victim ended with {died.code}"]
        if (died.code, survivor.code) == (0, 0):
            # Both were done before; where that cannot be, the victim's code says so.
            pass
        elif survivor.code not in {1, *codes} - {-signal.SIGKILL}:
            faults.append(f"the survivor ended with {survivor.code}")
        elif not any(each in survivor.output for each in TELLS):
            faults.append("the survivor does not say why")
        told = run_ranks(self.folder, 2, *self.resume)
        if not (self.run / "result.json").exists():
            told += run_ranks(self.folder, 2, *self.command, "-o", "run")
        if not (self.run / "result.json").exists():
            faults.append("it does not go on")
        else:
            faults += difference(facts_of(self.run), self.whole)
        self.tally.case(label, faults, died, survivor, *told)
        shutil.rmtree(self.run, ignore_errors=True)

    def killed(self, victim: int) -> None:
        """Kill a rank at a random moment."""
        children = self.start()
        after = self.random.uniform(0, self.seconds)
        time.sleep(after)
        os.kill(children[victim].pid, signal.SIGKILL)
        codes = {-signal.SIGKILL, 0}
        self.end(f"kill -9 of rank {victim} after {after:.2f} s", children, victim, codes)

    def killed_in_save(self, victim: int) -> None:
        """Kill a rank at an operation of its saves."""
        number = self.random.randrange(2, 6) if victim else self.random.randrange(20, 120)
        children = self.start({victim: die_at(self.folder, number)})
        label = f"kill -9 of rank {victim} at operation {number}"
        self.end(label, children, victim, {-signal.SIGKILL, 0})

    def failed(self, victim: int) -> None:
        """Let a rank raise."""
        step = self.random.randrange(1, 12)
        children = self.start({victim: fail_at_step(step)})
        self.end(f"exception in rank {victim} after step {step}", children, victim, {1})

    def without_room(self, victim: int) -> None:
        """Let the disk of a rank be full for its own part of a checkpoint."""
        children = self.start({victim: full_for_states(self.folder)})
        self.end(f"disk full in rank {victim}", children, victim, {1})

    def frozen(self, victim: int) -> None:
        """Stop a rank, so that its connections stay open."""
        children = self.start()
        wait_for_checkpoint(self.run, children[0], self.random.randrange(2))
        os.kill(children[victim].pid, signal.SIGSTOP)
        begun = time.monotonic()
        children[1 - victim].wait(BOUND_SECONDS)
        waited = time.monotonic() - begun
        os.kill(children[victim].pid, signal.SIGCONT)
        label = f"SIGSTOP of rank {victim}, the other waited {waited:.0f} s"
        self.end(label, children, victim, {0, 1})

    def signalled(self, victim: int) -> None:
        """Send a signal to one rank; both stop, and everything is saved."""
        number = self.random.choice([signal.SIGTERM, signal.SIGINT])
        children = self.start()
        wait_for_checkpoint(self.run, children[0], self.random.randrange(2))
        os.kill(children[victim].pid, number)
        # A launcher, or the terminal, repeats it.
        os.kill(children[victim].pid, number)
        codes = {128 + number, 0}
        self.end(f"{number.name} to rank {victim}", children, victim, codes)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import_qcli()
    with tempfile.TemporaryDirectory() as name:
        ranks = Ranks(Path(name), options.seed)
        kinds: list[Callable[[int], None]] = [
            *(ranks.killed, ranks.failed, ranks.signalled, ranks.killed_in_save),
            *(ranks.without_room, ranks.frozen),
        ]
        for number in range(options.count):
            kinds[number % len(kinds)](1 - number // len(kinds) % 2)
    ranks.tally.end()


if __name__ == "__main__":
    main()
