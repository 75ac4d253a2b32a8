"""Send SIGTERM and SIGINT to a run, to the group of its processes, and to its launcher.

    python tests/faults/signals.py --count 24

A run that trains stops with everything saved and exit code 143 or 130; a second Ctrl-C ends it at
once. It goes on to the uninterrupted result.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from forked import Ended, import_qcli, run, start
from ranks import free_port, run_ranks, start_ranks, wait_for, wait_for_checkpoint
from small_run import difference, facts_of, write_recipe
from tally import Tally

SAVED = "everything is saved"
RESUME = ("train", "--cpu", "--resume", "run")


class Signals:
    """Runs the cases.

    Args:
        folder: For all files.
        seed: Of the choices.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.tally = Tally("signals")
        # Long enough for a launcher to be heard by.
        self.command = write_recipe(folder, epochs=6)
        self.run = folder / "run"
        run(folder, *self.command, "-o", "whole1")
        run_ranks(folder, 2, *self.command, "-o", "whole2")
        self.whole = {count: facts_of(folder / f"whole{count}") for count in (1, 2)}

    def alone(self, number: signal.Signals) -> None:
        """Send one signal to a single process."""
        child = start(self.folder, *self.command, "-o", "run")
        wait_for_checkpoint(self.run, child, self.random.randrange(3))
        os.kill(child.pid, number)
        self._end(f"{number.name} to one process", number, 1, [child.wait()])

    def twice(self, number: signal.Signals) -> None:
        """Send Ctrl-C twice: the second does not wait for the checkpoint."""
        child = start(self.folder, *self.command, "-o", "run")
        wait_for_checkpoint(self.run, child, self.random.randrange(3))
        os.kill(child.pid, signal.SIGINT)
        time.sleep(self.random.uniform(0, 0.02))
        if not child.has_ended():
            os.kill(child.pid, signal.SIGINT)
        self._end("SIGINT twice", signal.SIGINT, 1, [child.wait()], must_save=False)

    def together(self, number: signal.Signals) -> None:
        """Send a signal to every rank, some twice, as a terminal and a launcher do."""
        children = start_ranks(self.folder, 2, *self.command, "-o", "run")
        wait_for_checkpoint(self.run, children[0], self.random.randrange(3))
        for child in (*children, self.random.choice(children)):
            if not child.has_ended():
                os.kill(child.pid, number)
        self._end(f"{number.name} to both ranks", number, 2, wait_for(children))

    def launched(self, number: signal.Signals) -> None:
        """Send a signal to `accelerate launch`; Ctrl-C goes to the whole group."""
        launch = (
            *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
            *("--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
            *("--dynamo_backend", "no", "--main_process_port", str(free_port()), "-m", "qcli"),
        )
        log = self.folder / "launched.txt"
        with log.open("w") as file:
            launcher = subprocess.Popen(
                (*launch, *self.command, "-o", "run"),
                **{"cwd": self.folder, "stdout": file, "stderr": file, "start_new_session": True},
            )
        while not (self.run / "metrics.jsonl").exists() and launcher.poll() is None:
            time.sleep(0.01)
        if number == signal.SIGINT:
            os.killpg(launcher.pid, number)
        else:
            os.kill(launcher.pid, number)
        launcher.wait()
        lines = log.read_text().splitlines()
        said = "\n".join(line for line in lines if line.startswith("error"))
        if any('File "' in line and "/qcli/" in line for line in lines):
            said += "\nTraceback (most recent call last)"
        label = f"{number.name} to accelerate launch, which ends with {launcher.returncode}"
        # The launcher has an exit code of its own.
        self._end(label, number, 2, [Ended(128 + number, said)])

    def _end(
        self,
        label: str,
        number: signal.Signals,
        count: int,
        ended: list[Ended],
        must_save: bool = True,
    ) -> None:
        """Judge how it ended, go on, and compare."""
        faults = []
        finished = (self.run / "result.json").exists()
        if not finished:
            faults = [f"exit {each.code}" for each in ended if each.code != 128 + number]
            if must_save and not any(SAVED in each.output for each in ended):
                faults.append("it does not say that everything is saved")
            again = run_ranks(self.folder, count, *RESUME) if count > 1 else [self._resume()]
            faults += [f"then exit {each.code}" for each in again if each.code]
            ended = [*ended, *again]
        faults = faults or difference(facts_of(self.run), self.whole[count])
        self.tally.case(f"{label}{', too late' if finished else ''}", faults, *ended)
        shutil.rmtree(self.run)

    def _resume(self) -> Ended:
        return run(self.folder, *RESUME)


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--launches", type=int, default=2, help="of these, under a launcher")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import_qcli()
    with tempfile.TemporaryDirectory() as name:
        signals = Signals(Path(name), options.seed)
        kinds: list[Callable[[signal.Signals], None]] = [
            *(signals.alone, signals.twice, signals.together),
        ]
        numbers = (signal.SIGTERM, signal.SIGINT)
        for case in range(options.count - options.launches):
            kinds[case % len(kinds)](numbers[case // len(kinds) % 2])
        for case in range(options.launches):
            signals.launched(numbers[case % 2])
    signals.tally.end()


if __name__ == "__main__":
    main()
