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
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_lost(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), *SCRIPTS[name]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"(\d+) cases, 0 lost, 0 tracebacks", done.stdout)
    assert counts is not None, done.stdout
    assert int(counts[1]) >= 3
