"""What cannot be written as it is, is told as well as can be; the exit code is always right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has a device that is always full")
def test_a_message_that_cannot_be_written_leaves_the_exit_code():
    with FULL.open("w") as full:
        done = subprocess.run([sys.executable, "-m", "qcli", "show", "nothing"], stderr=full)
    assert done.returncode == 3


def test_a_letter_that_the_terminal_lacks_is_spelled_out():
    command = [sys.executable, "-m", "qcli", "cite", "mnist", "--format", "plain"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert r"L\xe9on Bottou" in done.stdout
