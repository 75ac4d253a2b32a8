"""Let the disk be full at each operation of a run and of other verbs, make room, and go on.

    python tests/faults/disk_full.py --count 400

Two ways. Injected: from an operation on, everything that needs room fails with ENOSPC; it works
everywhere. Real: a small tmpfs is filled up at an operation but for some bytes, so that the kernel
refuses a write in its middle; it needs root, and says so where it cannot be had.
"""

import argparse
import errno
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from disk_operations import DiskOperations
from forked import Ended, import_qcli, run
from small_run import difference, facts_of, write_recipe
from tally import Tally

Prepare = Callable[[], None]
FREES = ("os.remove", "os.rmdir")
KINDS = ("injected", "verbs", "real")
RESUME = ("train", "--cpu", "--resume", "run")


def full_from(folder: Path, wanted: int) -> Prepare:
    """Refuse an operation and every later one that needs room."""

    def heard(number: int, what: str) -> None:
        is_free = what.startswith(FREES) or (number > wanted and what.startswith("os.rename"))
        if number >= wanted and not is_free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)

    return DiskOperations(folder, heard).begin


def fill_at(disk: Path, wanted: int, left: int) -> Prepare:
    """Fill the disk at an operation, but for `left` bytes."""

    def heard(number: int, _: str) -> None:
        if number == wanted:
            free = os.statvfs(disk)
            size = free.f_bavail * free.f_frsize - left
            with (disk / "ballast").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(size, 1))

    return DiskOperations(disk / "run", heard).begin


def record_operations(folder: Path, below: Path, command: tuple[str, ...]) -> list[str]:
    """Run a command; return what it does to the disk below a folder, in order."""
    descriptor, name = tempfile.mkstemp()

    def prepare() -> None:
        file = os.fdopen(descriptor, "w", buffering=1)
        DiskOperations(below, lambda _, what: print(what, file=file)).begin()

    ended = run(folder, *command, prepare=prepare)
    assert ended.code == 0, ended.output
    operations = Path(name).read_text().splitlines()
    os.close(descriptor)
    Path(name).unlink()
    return operations


def judge(ended: Ended) -> list[str]:
    """Return what is wrong with how a command ended on a full disk."""
    if ended.code != 1:
        return [f"exit {ended.code} on a full disk, not 1"]
    told = [line for line in ended.output.splitlines() if line.startswith("error:")]
    if not any("No space left" in line for line in told):
        return ["the message does not name the full disk"]
    return []


def check_training(folder: Path, whole: dict[str, object], ended: Ended) -> list[str]:
    """Make room, go on, and return what is not as it should be."""
    # The last line of log.txt is all that the end of a run may miss.
    finished = (folder / "run" / "result.json").exists()
    faults = [] if finished else judge(ended)
    if not finished:
        again = run(folder, *RESUME)
        if "give the command that started it again" in again.output or "does not exist" in (
            again.output
        ):
            again = run(folder, *write_recipe(folder), "-o", "run")
        faults += [f"then exit {again.code}: {again.output}"] * bool(again.code)
    return faults or difference(facts_of(folder / "run"), whole)


def train_injected(tally: Tally, folder: Path, count: int, random: random.Random) -> None:
    """Fill the disk, by injection, at operations of a training run."""
    command = (*write_recipe(folder), "-o", "run")
    operations = record_operations(folder, folder / "run", command)
    whole = facts_of(folder / "run")
    shutil.rmtree(folder / "run")
    for number in choose(operations, count, random):
        ended = run(folder, *command, prepare=full_from(folder / "run", number))
        faults = check_training(folder, whole, ended)
        tally.case(f"injected at {number} {operations[number - 1]}", faults, ended)
        shutil.rmtree(folder / "run", ignore_errors=True)


def train_real(tally: Tally, disk: Path, count: int, random: random.Random) -> None:
    """Fill a real disk at operations of a training run."""
    command = (*write_recipe(disk), "-o", "run")
    operations = record_operations(disk, disk / "run", command)
    whole = facts_of(disk / "run")
    shutil.rmtree(disk / "run")
    for number in choose(operations, count, random):
        left = random.choice([0, 0, 4096, random.randrange(600_000)])
        ended = run(disk, *command, prepare=fill_at(disk, number, left))
        (disk / "ballast").unlink(missing_ok=True)
        label = f"real at {number} {operations[number - 1]}, {left} bytes left"
        if ended.code == 0:
            # So little was left to write that it fitted.
            faults = difference(facts_of(disk / "run"), whole)
        else:
            faults = check_training(disk, whole, ended)
        tally.case(label, faults, ended)
        shutil.rmtree(disk / "run", ignore_errors=True)


def choose(operations: list[str], count: int, random: random.Random) -> list[int]:
    """Return numbers of operations that need room, `count` at most."""
    numbers = [n for n, what in enumerate(operations, 1) if not what.startswith(FREES)]
    return sorted(random.sample(numbers, min(count, len(numbers))))


def verbs(folder: Path) -> dict[str, tuple[tuple[str, ...], str]]:
    """Return other commands that write, and what they make; all of it lies below `folder`."""
    exports = {
        f"export {form}": (("export", "trained", "--format", form, "-o", "made"), "made")
        for form in ("packed", "c99", "weights")
    }
    pack = ("data", "pack", "folder", "-p", "photographs", "-o", "made", "--workers", "0")
    table = ("compare", "trained", "trained", "--plot", "made.svg")
    return {
        **exports,
        "verify": (("verify", "trained", "--format", "packed"), "trained/verify.json"),
        "data pack": (pack, "made"),
        "compare --plot": (table, "made.svg"),
        "report": (("report", "trained", "-o", "made"), "made"),
    }


def other_verbs(tally: Tally, folder: Path, count: int, random: random.Random) -> None:
    """Fill the disk, by injection, at operations of the verbs that write."""
    prepare_verbs(folder)
    for name, (command, made) in verbs(folder).items():
        operations = record_operations(folder, folder, command)
        assert (folder / made).exists(), name
        remove(folder / made)
        for number in choose(operations, count, random):
            before = listing(folder)
            ended = run(folder, *command, prepare=full_from(folder, number))
            faults = judge(ended)
            # To make a name durable is what remains when the file is whole.
            is_whole = operations[number - 1].startswith("fsync") and number > 1
            is_whole = is_whole and operations[number - 2].startswith("os.rename")
            if (folder / made).exists() and not is_whole:
                faults.append(f"{made} is there, half made")
            remove(folder / made)
            again = run(folder, *command)
            faults += [f"then exit {again.code}: {again.output}"] * bool(again.code)
            remove(folder / made)
            left = listing(folder) - before
            faults += [f"left behind: {sorted(left)}"] * bool(left)
            tally.case(f"{name} at {number} {operations[number - 1]}", faults, ended, again)


def prepare_verbs(folder: Path) -> None:
    """Make a run and photographs for the verbs."""
    from PIL import Image

    recipe = ("--train-json", "lenet5-digits-20ep", "--quant-json", "lsq-w4a4-integer")
    ended = run(folder, "train", "--cpu", *recipe, "--epochs", "1", "-o", "trained")
    assert ended.code == 0, ended.output
    for part in ("train", "test"):
        for label in ("a", "b"):
            place = folder / "photographs" / part / label
            place.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (40, 30), (number * 40, 90, 7)).save(place / f"{number}.png")


def listing(folder: Path) -> set[str]:
    """Return every path below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120, help="at most so many of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS, action="append", help="these; default: all")
    options = parser.parse_args()
    kinds = options.only or KINDS
    import_qcli()
    tally = Tally("disk_full")
    choices = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in kinds:
            (folder / kind).mkdir()
        if "injected" in kinds:
            train_injected(tally, folder / "injected", options.count, choices)
        if "verbs" in kinds:
            other_verbs(tally, folder / "verbs", options.count, choices)
        if "real" in kinds:
            on_real_disk(tally, folder / "real", options.count, choices)
    tally.end()


def on_real_disk(tally: Tally, disk: Path, count: int, choices: random.Random) -> None:
    """Mount a small disk for the cases that need one."""
    mount = ("mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk))
    if subprocess.run(mount, capture_output=True).returncode:
        print("disk_full: no tmpfs can be mounted here: the real disk is left out")
        return
    try:
        train_real(tally, disk, count, choices)
    finally:
        subprocess.run(("umount", str(disk)), check=True)


if __name__ == "__main__":
    main()
