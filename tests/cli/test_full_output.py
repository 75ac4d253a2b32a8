"""Where no message can be written, the exit code still tells what happened."""

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
