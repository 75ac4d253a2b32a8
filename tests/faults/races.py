"""Two processes on one run directory, and a run directory that is removed while it trains.

    python tests/faults/races.py --count 20

One process wins, the other says so, and nothing is damaged.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from forked import Child, Ended, import_qcli, run, start
from ranks import wait_for_checkpoint
from small_run import difference, facts_of, write_recipe
from tally import Tally

REFUSALS = ("in use by another process", "never overwritten", "is finished", "starts it")
GONE = "was removed or replaced"


class Races:
    """Runs the cases.

    Args:
        folder: For all files.
        seed: Of the choices.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.tally = Tally("races")
        self.command = write_recipe(folder)
        self.resume = ("train", "--cpu", "--resume", "run")
        self.run = folder / "run"
        begun = time.monotonic()
        run(folder, *self.command, "-o", "whole")
        self.seconds = time.monotonic() - begun
        self.whole = facts_of(folder / "whole")

    def two_new(self) -> None:
        """Start two runs in one folder, the second some moments later."""
        self._race("two new runs", (*self.command, "-o", "run"), (*self.command, "-o", "run"))

    def new_and_resume(self) -> None:
        """Go on with a run while it is trained, or started."""
        self._race("a run and its resume", (*self.command, "-o", "run"), self.resume)

    def two_resumes(self) -> None:
        """Go on twice at once with a run that was killed."""
        child = self._begin()
        child.kill()
        child.wait()
        self._race("two resumes", self.resume, self.resume)

    def two_unnamed(self) -> None:
        """Start two runs without a name in one moment: each has a folder of its own."""
        ended = [child.wait() for child in [start(self.folder, *self.command) for _ in range(2)]]
        runs = sorted((self.folder / "runs").iterdir())
        faults = [f"exit {each.code}" for each in ended if each.code]
        faults += [f"{len(runs)} folders"] * (len(runs) != 2)
        for each in runs if not faults else []:
            faults += difference(facts_of(each), self.whole)
        self.tally.case("two runs without a name", faults, *ended)
        shutil.rmtree(self.folder / "runs", ignore_errors=True)

    def removed(self) -> None:
        """Remove the folder of a run that trains."""
        child = self._begin()
        time.sleep(self.random.uniform(0, self.seconds / 4))
        # In one step: what is written while files are removed one by one would keep the folder.
        moved = self._move()
        finished = (moved / "result.json").exists()
        shutil.rmtree(moved)
        ended = child.wait()
        faults = [] if finished else self._judge_gone(ended)
        if any(path.is_file() for path in self.run.rglob("*")):
            faults.append("it was written to again")
        self._end("removed while it trains", faults, ended)

    def replaced(self) -> None:
        """Move the folder of a run that trains away, and start another in its place."""
        child = self._begin()
        moved = self._move()
        finished = (moved / "result.json").exists()
        ended = [run(self.folder, *self.command, "-o", "run"), child.wait()]
        faults = [] if finished else self._judge_gone(ended[1])
        faults += difference(facts_of(self.run), self.whole)
        shutil.rmtree(self.run)
        moved.rename(self.run)
        ended.append(run(self.folder, *self.resume))
        faults += difference(facts_of(self.run), self.whole)
        self._end("replaced while it trains", faults, *ended)

    def _begin(self) -> Child:
        child = start(self.folder, *self.command, "-o", "run")
        wait_for_checkpoint(self.run, child, self.random.randrange(2))
        return child

    def _move(self) -> Path:
        return self.run.rename(self.folder / "moved")

    def _judge_gone(self, ended: Ended) -> list[str]:
        if ended.code != 1:
            return [f"exit {ended.code} where the folder is gone"]
        return [] if GONE in ended.output else ["it does not say that the folder is gone"]

    def _race(self, label: str, first: tuple[str, ...], second: tuple[str, ...]) -> None:
        after = self.random.uniform(0, self.seconds)
        children = [start(self.folder, *first)]
        time.sleep(after)
        children.append(start(self.folder, *second))
        ended = [child.wait() for child in children]
        faults = []
        losers = [each for each in ended if each.code]
        faults += [f"{len(losers)} of 2 lost"] * (len(losers) > 1)
        for each in losers:
            known = [*REFUSALS, "does not exist", "give the command that started it again"]
            if not any(text in each.output for text in known):
                faults.append(f"exit {each.code} without a reason")
        if not faults:
            faults = difference(facts_of(self.run), self.whole)
        self._end(f"{label}, {after:.2f} s apart", faults, *ended)

    def _end(self, label: str, faults: list[str], *ended: Ended) -> None:
        self.tally.case(label, faults, *ended)
        for name in ("run", "moved"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import_qcli()
    with tempfile.TemporaryDirectory() as name:
        races = Races(Path(name), options.seed)
        kinds: list[Callable[[], None]] = [
            *(races.two_new, races.removed, races.two_resumes),
            *(races.two_unnamed, races.replaced, races.new_and_resume),
        ]
        for number in range(options.count):
            kinds[number % len(kinds)]()
    races.tally.end()


if __name__ == "__main__":
    main()
