"""A few cases of each script of faults; the scripts themselves run as many as they are told to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
SCRIPTS = {
    "kill": ("--count", "3", "--operations", "6"),
    "disk_full": ("--count", "2"),
    "dead_rank": ("--count", "4"),
    "signals": ("--count", "4", "--launches", "1"),
    "races": ("--count", "4"),
    "clock": ("--count", "3"),
    "two_hosts": ("--count", "1"),
}
NOT_POSSIBLE_HERE = 77


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_lost(name, tally):
    command = [sys.executable, str(FOLDER / f"{name}.py"), *SCRIPTS[name]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == NOT_POSSIBLE_HERE:
        pytest.skip(done.stdout)
    counts = re.search(r"(\d+) cases, (\d+) lost, (\d+) tracebacks", done.stdout)
    assert counts is not None, done.stdout + done.stderr
    tally.cases, tally.lost, tally.tracebacks = map(int, counts.groups())
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tally.lost, tally.tracebacks) == (0, 0), done.stdout
    assert tally.cases >= int(SCRIPTS[name][1])
