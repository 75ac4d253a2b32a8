"""Kill a training run at any moment, go on with it, and compare with the run that was left alone.

    python tests/faults/kill.py --count 50

Moments at random (half of what goes on is killed once more), every operation on the disk from the
end of the first epoch to the end of the second, and moments inside writes of native code.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from disk_operations import DiskOperations
from forked import Ended, import_qcli, run, start
from small_run import difference, facts_of, write_recipe
from tally import Tally

# The largest file of the run is a little larger.
LARGEST_BYTES = 480_000
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ}
START_AGAIN = "give the command that started it again"
Prepare = Callable[[], None]


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def record_operations(folder: Path, command: tuple[str, ...]) -> list[str]:
    """Run to the end; return what was done to the disk, in order."""
    listing = folder / "operations.txt"

    def prepare() -> None:
        file = listing.open("w", buffering=1)
        DiskOperations(folder / "run", lambda _, what: print(what, file=file)).begin()

    run(folder, *command, "-o", "run", prepare=prepare)
    shutil.rmtree(folder / "run")
    return listing.read_text().splitlines()


def at_operation(folder: Path, wanted: int) -> Prepare:
    """Kill before an operation."""

    def heard(number: int, _: str) -> None:
        if number == wanted:
            die()

    return DiskOperations(folder / "run", heard).begin


def inside_write(folder: Path, first: int, size: int) -> Prepare:
    """Let the kernel end the process inside the first write beyond `size` bytes of any file."""

    def heard(number: int, _: str) -> None:
        if number == first:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def prepare() -> None:
        # Python ignores it, and lets the write fail.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        DiskOperations(folder / "run", heard).begin()

    return prepare


class Kills:
    """Runs the cases.

    Args:
        folder: For all files.
        seed: Of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.tally = Tally("kill")
        self.command = write_recipe(folder)
        self.run = folder / "run"
        run(folder, *self.command, "-o", "whole")
        begun = time.monotonic()
        run(folder, *self.command, "-o", "again")
        self.seconds = time.monotonic() - begun
        self.whole = facts_of(folder / "whole")
        same = difference(facts_of(folder / "again"), self.whole)
        assert not same, f"two uninterrupted runs differ: {same}"

    def at_random(self, count: int) -> None:
        """Kill at `count` random moments, start-up included."""
        case = 0
        while case < count:
            after = self.random.uniform(0, self.seconds)
            first = self._killed_after(after, *self.command, "-o", "run")
            if first.code not in KILLED:
                # It was faster this time.
                shutil.rmtree(self.run, ignore_errors=True)
                continue
            case += 1
            again = []
            if self._is_begun() and self.random.random() < 0.5:
                again = [self._killed_after(self.random.uniform(0, self.seconds), *self.resume())]
            self._go_on(f"moment {case}, after {after:.3f} s", first, *again)

    def at_each(self, label: str, prepares: list[tuple[str, Prepare]]) -> None:
        """Kill in each of these ways."""
        for name, prepare in prepares:
            ended = run(self.folder, *self.command, "-o", "run", prepare=prepare)
            if ended.code not in KILLED:
                self.tally.case(f"{label} {name}", [f"not killed: {ended.code}"], ended)
                shutil.rmtree(self.run)
                continue
            self._go_on(f"{label} {name}", ended)

    def resume(self) -> tuple[str, ...]:
        """Return the command that goes on."""
        return ("train", "--cpu", "--resume", "run")

    def _is_begun(self) -> bool:
        return any(self.run.glob("checkpoint*/position.json"))

    def _killed_after(self, seconds: float, *command: str) -> Ended:
        child = start(self.folder, *command)
        time.sleep(seconds)
        os.kill(child.pid, signal.SIGKILL)
        return child.wait()

    def _go_on(self, label: str, *before: Ended) -> None:
        there = self.run.exists()
        ended = [*before, run(self.folder, *self.resume())]
        faults = []
        if ended[-1].code != 0:
            told = ended[-1].output
            finished = "is finished" in told
            if there and not finished and START_AGAIN not in told:
                faults.append(f"exit {ended[-1].code} of --resume does not say what to do")
            if not finished:
                # What the message says, and what everyone tries.
                ended.append(run(self.folder, *self.command, "-o", "run"))
                faults += [f"exit {ended[-1].code} of the same command"] * bool(ended[-1].code)
        if not faults:
            faults = difference(facts_of(self.run), self.whole)
        self.tally.case(label, faults, *ended)
        shutil.rmtree(self.run, ignore_errors=True)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="random moments")
    parser.add_argument("--operations", type=int, help="so many of the operations; default: all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import_qcli()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kills = Kills(folder, options.seed)
        kills.at_random(options.count)
        operations = record_operations(folder, kills.command)
        chosen = choose(operations, options.operations, kills.random)
        kills.at_each(
            "before", [(operations[n - 1], at_operation(folder, n)) for n in sorted(chosen)]
        )
        begun = operations.index("open .metrics.csv.new")
        sizes = [kills.random.randrange(1, LARGEST_BYTES) for _ in range(min(options.count, 20))]
        kills.at_each(
            "inside a write at byte",
            [(str(size), inside_write(folder, begun, size)) for size in sizes],
        )
    kills.tally.end()


def choose(operations: list[str], count: int | None, random: random.Random) -> set[int]:
    """Return numbers of operations: of the start, of the second epoch, and of the end."""
    ends = [n for n, what in enumerate(operations, 1) if what == "open .metrics.csv.new"]
    first = operations.index("os.mkdir checkpoint.new") + 1
    last = operations.index("open .run.json.new", ends[1])
    numbers = [*range(1, first), *range(ends[0], ends[1]), *range(last, len(operations) + 1)]
    return set(numbers if count is None else random.sample(numbers, count))


if __name__ == "__main__":
    main()
