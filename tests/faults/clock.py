"""Set the clock back and forth by hours and years while runs start and train.

    python tests/faults/clock.py --count 12

No run takes the folder of another, no time is negative, and the numbers are those of a quiet clock.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forked import import_qcli, run
from small_run import CLOCKS, difference, facts_of, write_recipe
from tally import Tally

START = datetime(2030, 3, 31, 0, 59, 59, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=366)
Clock = Callable[[int], datetime]
CLOCKS_OF_CASES: dict[str, Clock] = {
    "stands still": lambda reading: START,
    "runs backwards": lambda reading: START - reading * HOUR,
    "jumps forward by years": lambda reading: START + reading * YEAR,
    "jumps back and forth": lambda reading: START + (-1) ** reading * YEAR,
    "begins before 1970": lambda reading: datetime(1969, 12, 31, tzinfo=UTC) + reading * YEAR,
}


def set_clock(clock: Clock) -> Callable[[], None]:
    """Return what makes a process read this clock, whoever asks for date or time."""
    readings: list[None] = []

    def read() -> datetime:
        readings.append(None)
        return clock(len(readings))

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return read()

    def prepare() -> None:
        time.time = lambda: read().timestamp()
        for name, module in list(sys.modules.items()):
            if name.startswith("qcli") and getattr(module, "datetime", None) is datetime:
                module.datetime = Wrong  # type: ignore[attr-defined]

    return prepare


def check(tally: Tally, folder: Path, name: str, whole: dict[str, object]) -> None:
    """Train twice without a name by the same clock, and judge both."""
    command = write_recipe(folder)
    ended = [run(folder, *command, prepare=set_clock(CLOCKS_OF_CASES[name])) for _ in range(2)]
    faults = [f"exit {each.code}" for each in ended if each.code]
    runs = sorted((folder / "runs").iterdir()) if (folder / "runs").exists() else []
    if len(runs) != 2:
        faults.append(f"{len(runs)} folders of 2 runs")
    for each in runs if not faults else []:
        faults += difference(facts_of(each), whole)
        faults += negative_times(each)
    tally.case(f"a clock that {name}", faults, *ended)
    shutil.rmtree(folder / "runs", ignore_errors=True)


def check_resume(tally: Tally, folder: Path, back: timedelta, whole: dict[str, object]) -> None:
    """Go on with a run whose beginning lies in the future, or long ago."""

    def stop() -> None:
        from qcli.errors import RunError
        from qcli.training.loop import Loop

        save, saves = Loop.save, []

        def failing(loop: Loop, position: object) -> None:
            save(loop, position)  # type: ignore[arg-type]
            saves.append(None)
            if len(saves) == 6:
                raise RunError("stopped here")

        Loop.save = failing  # type: ignore[method-assign,assignment]

    first = run(folder, *write_recipe(folder), "-o", "run", prepare=stop)
    again = run(
        folder,
        *("train", "--cpu", "--resume", "run"),
        prepare=set_clock(lambda reading: datetime.now(UTC) - back),
    )
    faults = [f"exit {again.code}"] * bool(again.code)
    faults = faults or difference(facts_of(folder / "run"), whole) + negative_times(folder / "run")
    tally.case(f"resumed {back} before it was begun", faults, first, again)
    shutil.rmtree(folder / "run")


def negative_times(path: Path) -> list[str]:
    """Return what a run tells of its durations that cannot be."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    rows.append(json.loads((path / "result.json").read_text()))
    return [f"{name} is {row[name]}" for row in rows for name in CLOCKS if not 0 <= row[name] < 1e7]


def main() -> None:
    """Run the cases that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    choices = random.Random(options.seed)
    import_qcli()
    tally = Tally("clock")
    names = list(CLOCKS_OF_CASES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder, *write_recipe(folder), "-o", "whole")
        whole = facts_of(folder / "whole")
        for number in range(options.count):
            if number % 2:
                days = timedelta(days=choices.uniform(-4000, 4000))
                check_resume(tally, folder, days, whole)
            else:
                check(tally, folder, names[number // 2 % len(names)], whole)
    tally.end()


if __name__ == "__main__":
    main()
